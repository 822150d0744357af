// SPDX-License-Identifier: Apache-2.0
// Ties the page together: the stream fills the graph and a list of flows, and both are drawn a few
// times a second, however many come.

import {makeDetail} from "./detail.js";
import {makeFilters} from "./filters.js";
import {verdictOf, wayOf, timeNs} from "./flow.js";
import {Graph, stepsOf} from "./graph.js";
import {ServiceMap} from "./map.js";
import {Stream} from "./stream.js";
import {FlowTable} from "./table.js";

const KEPT_MAX = 5000;
const DRAW_MS = 250;
const MAP_MS = 1000;
const ASK_MS = 10000;
const LINK_TEXTS = {connecting: "connecting", live: "streaming", waiting: "no connection, trying again"};

const byId = (id) => document.getElementById(id);
const graph = new Graph();
const reasons = new Set();
const services = new Map(); // "namespace/name" -> what /api/services says
const lost = {reader: 0, datapath: 0};
let kept = [], total = 0, selected = null, paused = false, following = true, changed = true, skew = 0;

function counted(n, what) {
	return `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
}

function nowSecond() {
	return Math.floor((Date.now() + skew) / 1000);
}

function take(line) {
	if (line.lost_events) {
		const {source, num_events_lost: count} = line.lost_events;
		lost[source === "HUBBLE_RING_BUFFER" ? "reader" : "datapath"] += Number(count);
		return;
	}
	const entry = {flow: line, way: wayOf(line)};
	kept.push(entry);
	if (kept.length > 2 * KEPT_MAX)
		kept = kept.slice(-KEPT_MAX);
	total++;
	changed = true;
	if (line.drop_reason_desc)
		reasons.add(line.drop_reason_desc);
	// a flow counts when it opens; its end is the same flow
	if (line.event_type !== "closed") {
		const ns = timeNs(line.time);
		graph.add(entry.way, verdictOf(line), ns === null ? nowSecond() : Number(ns / 1000000000n),
			nowSecond());
	}
}

// ---- what is selected on the map ----

function isSelected({way}) {
	if (!selected)
		return true;
	return stepsOf(way, graph.byNamespace).some((step) =>
		[step.id, step.from.key, step.to.key].includes(selected.id));
}

function select(what) {
	selected = selected?.id === what?.id ? null : what;
	byId("selection").hidden = !selected;
	byId("selection").textContent = selected ? `${selected.text} ×` : "";
	byId("selection").title = "Show all flows again";
	setFollowing(true);
	redraw();
}

// ---- drawing ----

const detail = makeDetail();
const table = new FlowTable(byId("scroll"), byId("rows"), {
	open: ({flow}) => detail.open(flow),
	follow: (on) => setFollowing(on),
});
const map = new ServiceMap(byId("canvas"), byId("map-empty"), {select});

function about(node) {
	const known = node.kind === "service" && services.get(`${node.namespace}/${node.name}`);
	if (known) {
		const ready = known.backends.filter((b) => b.state === "active").length;
		return `${ready} of ${known.backends.length} backends ready`;
	}
	return node.pods.size ? counted(node.pods.size, "pod") : "";
}

function emptyText() {
	if (filters.list.length)
		return "No flow matches the filters so far.";
	return "No flows yet. They show here as soon as a pod or this node opens a connection.";
}

function drawTable() {
	if (!paused && following && changed) {
		changed = false;
		table.show(kept.slice(-KEPT_MAX).filter(isSelected).reverse());
	}
	byId("flows-empty").hidden = table.entries.length > 0;
	byId("flows-empty").textContent = selected ? "No flow of these is kept." : emptyText();
	byId("count").textContent = `${table.entries.length.toLocaleString("en")} shown of ` +
		`${total.toLocaleString("en")}${paused ? ", paused" : following ? "" : ", not following"}`;
	const texts = [lost.reader && `${lost.reader.toLocaleString("en")} flows missed: this page was too slow`,
		lost.datapath && `${lost.datapath.toLocaleString("en")} records lost by the node`,
		graph.folded && "more than the map can show"].filter(Boolean);
	byId("lost").hidden = !texts.length;
	byId("lost").textContent = texts.join(" · ");
}

function drawMap() {
	if (!paused)
		map.draw(graph.level, nowSecond(), {selected, about, emptyText: emptyText()});
}

function redraw() {
	changed = true;
	drawTable();
	drawMap();
}

// ---- controls ----

function press(id, on) {
	byId(id).setAttribute("aria-pressed", on);
}

function setFollowing(on) {
	if (following === on)
		return;
	following = on;
	press("follow", on);
	if (on) {
		table.toTop();
		changed = true;
	}
}

function reset() {
	kept = [];
	total = 0;
	lost.reader = lost.datapath = 0;
	graph.clear();
	if (selected)
		select(null);
	table.show([]);
	setFollowing(true);
	redraw();
}

byId("pause").addEventListener("click", () => {
	paused = !paused;
	press("pause", paused);
	redraw();
});
byId("follow").addEventListener("click", () => setFollowing(!following));
byId("clear").addEventListener("click", reset);
byId("selection").addEventListener("click", () => select(null));
byId("tidy").addEventListener("click", () => {
	graph.tidy();
	drawMap();
});
byId("group").addEventListener("change", () => {
	graph.group = byId("group").value;
	select(null);
});
addEventListener("keydown", (event) => {
	if (event.key === "Escape" && selected && byId("detail").hidden)
		select(null);
});
new ResizeObserver(drawMap).observe(byId("canvas"));

// ---- what the agent says of itself ----

async function ask(name) {
	const response = await fetch(`/api/${name}`, {cache: "no-store"});
	if (!response.ok)
		throw new Error(`${name}: ${response.status}`);
	return response.json();
}

function showStatus({node, version, state, reasons: why, notes}) {
	document.title = `${node} · bpfnet`;
	byId("node").textContent = `${node} · ${version}`;
	byId("state").textContent = `${state === "live" ? "✓" : "⚠"} ${state}`;
	byId("state").className = state === "live" ? "forwarded" : "audit";
	const texts = [...why, ...notes];
	byId("reasons").replaceChildren(...(texts.length ? texts : ["Nothing to report."]).map((text) => {
		const item = document.createElement("li");
		item.textContent = text;
		return item;
	}));
	byId("health").hidden = false;
}

async function askAll() {
	try {
		const [status, list, endpoints] = await Promise.all(["status", "services", "endpoints"].map(ask));
		showStatus(status);
		services.clear();
		list.forEach((s) => services.set(`${s.namespace}/${s.name}`, s));
		byId("known").textContent = `${counted(endpoints.length, "pod")} here · ${counted(list.length, "service")}`;
	} catch {
		// the stream tells that there is no connection
	}
	setTimeout(askAll, ASK_MS);
}

const filters = makeFilters({
	changed: () => {
		reset();
		stream.start(filters.list);
	},
	reasons: () => reasons,
});
const stream = new Stream({
	line: take,
	state: (state) => {
		byId("link").textContent = LINK_TEXTS[state];
		byId("link").className = state;
	},
	refused: (text) => {
		filters.refused(text);
		byId("link").textContent = "not connected: a filter is wrong";
		byId("link").className = "bad";
	},
	clock: (ms) => { skew = ms; },
});

setInterval(drawTable, DRAW_MS);
setInterval(drawMap, MAP_MS);
redraw();
askAll();
stream.start(filters.list);
