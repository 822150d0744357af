// SPDX-License-Identifier: Apache-2.0
// The map as SVG: three columns, who asks, the service, who answers. A node keeps its place, and an
// element is changed only where what it shows has.

import {VERDICTS} from "./graph.js";

const SVG = "http://www.w3.org/2000/svg";
const HEADS = ["From", "Service", "To"];
const MARKS = {forwarded: "", dropped: "✕ ", audit: "! "};
const NODE = {width: 196, height: 38, gap: 10, top: 34, left: 16};
const LABELS_MAX = 30; // edges, past which only the one that is pointed at has its text
const WIDTH_MIN = 3 * NODE.width + 220;
const BELOW_MAX = 8; // services, past which lines that meet none go behind them
const TEXT_MAX = 27; // characters that fit

function element(name, attributes = {}, ...children) {
	const e = document.createElementNS(SVG, name);
	Object.entries(attributes).forEach(([key, value]) => e.setAttribute(key, value));
	e.append(...children);
	return e;
}

function put(e, attribute, value) {
	if (e.getAttribute(attribute) !== String(value))
		e.setAttribute(attribute, value);
}

function say(e, text) {
	if (e.textContent !== text)
		e.textContent = text;
}

export function shorten(text, most = TEXT_MAX) {
	const characters = [...text];
	return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : text;
}

export function rateText(rate) {
	if (rate >= 1000)
		return `${(rate / 1000).toFixed(1)}k/s`;
	return `${rate >= 10 ? Math.round(rate) : rate.toFixed(1)}/s`;
}

// What an edge shows, of late, or so far where nothing is of late: what most of it is, and the worst
// that is in it.
export function edgeState(edge, now) {
	const rates = edge.rates(now);
	const sum = VERDICTS.reduce((n, v) => n + rates[v], 0);
	const seen = sum ? rates : edge.total;
	const worst = ["dropped", "audit"].find((v) => seen[v]) ?? "forwarded";
	const most = VERDICTS.reduce((a, v) => (seen[v] > seen[a] ? v : a));
	const texts = VERDICTS.filter((v) => seen[v])
		.map((v) => MARKS[v] + (sum ? rateText(rates[v]) : seen[v].toLocaleString("en")));
	return {sum, worst, most, text: texts.join("  ")};
}

function nodeLabel(node) {
	return node.sub ? `${node.sub}/${node.name}` : node.name;
}

export class ServiceMap {
	// on.select({kind: "edge" | "node", id, text} or null)
	constructor(canvas, empty, on) {
		this.on = on;
		this.empty = empty;
		this.canvas = canvas;
		this.svg = element("svg", {role: "group", "aria-label": "service map"});
		this.heads = HEADS.map((text) => element("text", {class: "head", y: 20}, text));
		this.edgeLayer = element("g");
		this.nodeLayer = element("g");
		this.svg.append(...this.heads, this.edgeLayer, this.nodeLayer);
		canvas.append(this.svg);
		this.nodes = new Map();
		this.edges = new Map();
		this.svg.addEventListener("click", (event) => this.chosen(event.target));
		this.svg.addEventListener("keydown", (event) => {
			if (event.key !== "Enter" && event.key !== " ")
				return;
			event.preventDefault();
			this.chosen(event.target);
		});
	}

	chosen(target) {
		const g = target.closest("[data-kind]");
		this.on.select(g && {kind: g.dataset.kind, id: g.dataset.id, text: g.dataset.text});
	}

	x(column, width) {
		return NODE.left + column * (width - 2 * NODE.left - NODE.width) / 2;
	}

	y(node) {
		return NODE.top + node.slot * (NODE.height + NODE.gap);
	}

	makeNode(node) {
		const name = element("text", {x: 12, y: 16}), sub = element("text", {class: "sub", x: 12, y: 31});
		const title = element("title");
		const g = element("g", {tabindex: 0, role: "button", class: `node ${node.kind}`},
			title, element("rect", {width: NODE.width, height: NODE.height, rx: 6}), name, sub);
		Object.assign(g.dataset, {kind: "node", id: node.key, text: nodeLabel(node)});
		this.nodeLayer.append(g);
		return {g, name, sub, title};
	}

	drawNode(node, width, about, selected) {
		const e = this.nodes.get(node.key) ?? this.makeNode(node);
		this.nodes.set(node.key, e);
		put(e.g, "transform", `translate(${this.x(node.column, width)} ${this.y(node)})`);
		const note = about(node);
		const sub = [node.sub, note].filter(Boolean).join(" · ");
		say(e.name, shorten(node.name));
		say(e.sub, shorten(sub, TEXT_MAX + 5));
		say(e.title, `${nodeLabel(node)}${note ? `, ${note}` : ""}`);
		e.g.classList.toggle("on", selected?.id === node.key);
	}

	makeEdge(edge) {
		const hit = element("path", {class: "hit"}), line = element("path", {class: "line"}),
			over = element("path", {class: "over"});
		const text = element("text"), title = element("title");
		const g = element("g", {tabindex: 0, role: "button"}, title, hit, line, over, text);
		Object.assign(g.dataset, {kind: "edge", id: edge.id,
			text: `${nodeLabel(edge.from)} → ${nodeLabel(edge.to)}`});
		this.edgeLayer.append(g);
		return {g, hit, line, over, text, title};
	}

	// A line that meets no service goes by below them, while they are few; `at` is for its text.
	route(edge, [x1, y1], [x2, y2]) {
		const middle = (x1 + x2) / 2;
		if (edge.to.column - edge.from.column === 1 || !this.services || this.services > BELOW_MAX) {
			const far = edge.to.column - edge.from.column > 1;
			return {d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`,
				at: far && this.services ? [x1 + (x2 - x1) * 0.844, y1 + (y2 - y1) * 0.844]
					: [middle, (y1 + y2) / 2]};
		}
		const below = NODE.top + this.services * (NODE.height + NODE.gap) + 10;
		const low = Math.max(below, (y1 + y2) / 2), quarter = (x2 - x1) / 4;
		return {d: `M${x1} ${y1}C${x1 + quarter} ${y1} ${middle - quarter} ${low} ${middle} ${low}` +
			`S${x2 - quarter} ${y2} ${x2} ${y2}`, at: [(middle + x2) / 2, (low + y2) / 2]};
	}

	drawEdge(edge, width, now, selected) {
		const e = this.edges.get(edge.id) ?? this.makeEdge(edge);
		this.edges.set(edge.id, e);
		const state = edgeState(edge, now);
		const x1 = this.x(edge.from.column, width) + NODE.width, x2 = this.x(edge.to.column, width);
		const y1 = this.y(edge.from) + NODE.height / 2, y2 = this.y(edge.to) + NODE.height / 2;
		const {d, at} = this.route(edge, [x1, y1], [x2, y2]);
		put(e.hit, "d", d);
		put(e.line, "d", d);
		put(e.over, "d", d);
		put(e.line, "stroke-width", (1.5 + Math.min(4, Math.log10(1 + state.sum) * 1.6)).toFixed(1));
		put(e.text, "x", Math.round(at[0]));
		put(e.text, "y", Math.round(at[1] - 4));
		say(e.text, state.text);
		const counts = VERDICTS.filter((v) => edge.total[v]).map((v) => `${edge.total[v]} ${v}`).join(", ");
		say(e.title, `${e.g.dataset.text}: ${counts}; ${rateText(state.sum)}`);
		put(e.g, "class", `edge ${state.most}${state.worst === state.most ? "" : ` with-${state.worst}`}${state.sum ? "" : " idle"}` +
			`${selected?.id === edge.id ? " on" : ""}${selected && !this.touches(edge, selected) ? " dim" : ""}`);
	}

	touches(edge, selected) {
		return selected.id === edge.id || selected.id === edge.from.key || selected.id === edge.to.key;
	}

	// about(node): a few words; emptyText: what to say where there is nothing.
	draw(level, now, {selected, about, emptyText}) {
		const width = Math.max(this.canvas.clientWidth, WIDTH_MIN);
		this.services = level.columns[1];
		const rows = Math.max(...level.columns, this.services && this.services <= BELOW_MAX ? this.services + 1 : 0);
		const height = Math.max(NODE.top + rows * (NODE.height + NODE.gap) + 4, 60);
		for (const [map, kept] of [[this.nodes, level.nodes], [this.edges, level.edges]]) {
			for (const [key, e] of map) {
				if (!kept.has(key)) {
					e.g.remove();
					map.delete(key);
				}
			}
		}
		this.empty.hidden = level.nodes.size > 0;
		say(this.empty, emptyText);
		this.svg.toggleAttribute("hidden", !level.nodes.size);
		put(this.svg, "width", width);
		put(this.svg, "height", height);
		this.svg.classList.toggle("many", level.edges.size > LABELS_MAX);
		this.heads.forEach((head, column) => put(head, "x", this.x(column, width)));
		level.edges.forEach((edge) => this.drawEdge(edge, width, now, selected));
		level.nodes.forEach((node) => this.drawNode(node, width, about, selected));
	}
}
