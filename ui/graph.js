// SPDX-License-Identifier: Apache-2.0
// Who talks to whom: flows added up by the steps of their ways, and how many a second.

export const VERDICTS = ["forwarded", "dropped", "audit"];
export const WINDOW_S = 10; // that rates are of
export const EDGES_MAX = 4000;
const AUTO_MAX = 40; // workloads in a column, past which auto shows namespaces
const COLUMNS = 3;

class Edge {
	constructor(id, ends) {
		this.id = id;
		[this.from, this.to] = ends;
		this.total = {forwarded: 0, dropped: 0, audit: 0};
		this.seconds = new Map(); // second -> counts, of the last WINDOW_S
	}

	add(verdict, second, now) {
		this.total[verdict]++;
		if (second <= now - WINDOW_S)
			return;
		const counts = this.seconds.get(second) ?? {forwarded: 0, dropped: 0, audit: 0};
		counts[verdict]++;
		this.seconds.set(second, counts);
	}

	// What came in the window, by verdict; a second.
	rates(now) {
		const rates = {forwarded: 0, dropped: 0, audit: 0};
		for (const [second, counts] of this.seconds) {
			if (second <= now - WINDOW_S)
				this.seconds.delete(second);
			else
				VERDICTS.forEach((v) => { rates[v] += counts[v] / WINDOW_S; });
		}
		return rates;
	}
}

function columnOf(index, way) {
	if (index === 0)
		return 0;
	return way[index].kind === "service" ? 1 : 2;
}

function grouped(place) {
	if (place.group === place.id)
		return place;
	return {id: place.group, group: place.group, kind: place.kind, namespace: place.namespace,
		name: place.namespace, sub: place.kind === "service" ? "services" : "namespace"};
}

// The steps of a way as edges' ids, by workload or by namespace.
export function stepsOf(way, byNamespace) {
	const nodes = way.map((place, index) => {
		const shown = byNamespace ? grouped(place) : place;
		return {...shown, column: columnOf(index, way), key: `${columnOf(index, way)} ${shown.id}`};
	});
	return nodes.slice(1).map((to, i) => ({id: `${nodes[i].key} > ${to.key}`, from: nodes[i], to}));
}

export class Graph {
	constructor() {
		this.group = "auto";
		this.clear();
	}

	clear() {
		this.levels = [false, true].map((byNamespace) =>
			({byNamespace, nodes: new Map(), edges: new Map(), columns: new Array(COLUMNS).fill(0)}));
		this.folded = 0; // flows of edges that there were too many of
	}

	get byNamespace() {
		return this.group === "namespace" ||
			(this.group === "auto" && Math.max(...this.levels[0].columns) > AUTO_MAX);
	}

	get level() {
		return this.levels[this.byNamespace ? 1 : 0];
	}

	// `second` and `now` in seconds of the node's clock.
	add(way, verdict, second, now) {
		for (const level of this.levels) {
			for (const step of stepsOf(way, level.byNamespace))
				this.addStep(level, step, verdict, second, now);
		}
	}

	addStep(level, {id, from, to}, verdict, second, now) {
		let edge = level.edges.get(id);
		if (!edge) {
			if (level.edges.size >= EDGES_MAX) {
				this.folded++;
				return;
			}
			edge = new Edge(id, [from, to].map((node) => Graph.node(level, node)));
			level.edges.set(id, edge);
		}
		for (const [node, seen] of [[edge.from, from], [edge.to, to]]) {
			if (seen.pod && node.pods.size < 1000)
				node.pods.add(seen.pod);
		}
		edge.add(verdict, second, now);
	}

	static node(level, {key, id, kind, name, sub, namespace, column}) {
		let node = level.nodes.get(key);
		if (!node) {
			node = {key, id, kind, name, sub, namespace, column, slot: level.columns[column]++,
				pods: new Set()};
			level.nodes.set(key, node);
		}
		return node;
	}

	// Places by name; else nodes stay where they came up.
	tidy() {
		for (const level of this.levels) {
			const next = new Array(COLUMNS).fill(0);
			const rank = (n) => (n.kind === "workload" || n.kind === "service" ? 1 : 0);
			[...level.nodes.values()]
				.sort((a, b) => rank(a) - rank(b) || a.namespace.localeCompare(b.namespace) ||
					a.name.localeCompare(b.name))
				.forEach((node) => { node.slot = next[node.column]++; });
		}
	}
}
