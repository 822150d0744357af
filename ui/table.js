// SPDX-License-Identifier: Apache-2.0
// The flows, newest first. Only the rows in view are elements.

import {endText, policyText, serviceText, summaryText, verdictOf} from "./flow.js";

const ROW_HEIGHT = 26;
const SPARE_ROWS = 6;
const VERDICT_MARKS = {forwarded: "→", dropped: "✕", audit: "!"};
const CLOCK = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit",
	fractionalSecondDigits: 3, hourCycle: "h23"});

function cellsOf(flow) {
	const time = new Date(flow.time);
	const verdict = verdictOf(flow);
	return [
		Number.isNaN(time.getTime()) ? flow.time : CLOCK.format(time),
		endText(flow, "source"), endText(flow, "destination"), flow.event_type,
		`${VERDICT_MARKS[verdict]} ${flow.verdict}`, serviceText(flow), policyText(flow), summaryText(flow),
	];
}

export class FlowTable {
	// on.open(entry); on.follow(whether new flows are followed)
	constructor(scroll, body, on) {
		this.scroll = scroll;
		this.body = body;
		this.on = on;
		this.entries = []; // what is shown, newest first; not changed while nobody follows
		this.chosen = null;
		this.above = this.space();
		this.below = this.space();
		this.rows = [];
		scroll.addEventListener("scroll", () => {
			this.on.follow(scroll.scrollTop < ROW_HEIGHT);
			this.draw();
		});
		new ResizeObserver(() => this.draw()).observe(scroll);
		body.addEventListener("click", (event) => {
			const row = event.target.closest("tr[data-index]");
			if (row)
				this.choose(Number(row.dataset.index));
		});
		scroll.addEventListener("keydown", (event) => this.key(event));
	}

	space() {
		const row = document.createElement("tr"), cell = row.insertCell();
		row.className = "space";
		row.setAttribute("aria-hidden", "true");
		cell.colSpan = 8;
		return row;
	}

	key(event) {
		const move = {ArrowDown: 1, ArrowUp: -1, j: 1, k: -1}[event.key];
		const at = this.entries.indexOf(this.chosen);
		if (move && this.entries.length) {
			event.preventDefault();
			this.choose(Math.max(0, Math.min(this.entries.length - 1, at + move)));
		} else if (event.key === "Enter" && at >= 0) {
			this.on.open(this.chosen);
		}
	}

	choose(index) {
		this.chosen = this.entries[index];
		const top = index * ROW_HEIGHT, room = this.scroll.clientHeight - 2 * ROW_HEIGHT;
		this.on.follow(false);
		if (top < this.scroll.scrollTop || top > this.scroll.scrollTop + room)
			this.scroll.scrollTop = Math.max(0, top - room / 2);
		this.on.open(this.chosen);
		this.draw();
	}

	show(entries) {
		this.entries = entries;
		this.draw();
	}

	toTop() {
		this.scroll.scrollTop = 0;
	}

	rowAt(i) {
		if (!this.rows[i]) {
			this.rows[i] = document.createElement("tr");
			for (let cell = 0; cell < 8; cell++)
				this.rows[i].insertCell();
		}
		return this.rows[i];
	}

	fill(row, index) {
		const entry = this.entries[index];
		row.dataset.index = index;
		row.setAttribute("aria-selected", entry === this.chosen);
		if (row.entry === entry)
			return;
		row.entry = entry;
		cellsOf(entry.flow).forEach((text, i) => {
			row.cells[i].textContent = text;
			row.cells[i].title = text;
		});
		row.cells[4].className = verdictOf(entry.flow);
	}

	draw() {
		const first = Math.max(0, Math.floor(this.scroll.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
		const fit = Math.ceil(this.scroll.clientHeight / ROW_HEIGHT) + 2 * SPARE_ROWS;
		const last = Math.min(this.entries.length, first + fit);
		const rows = [];
		for (let index = first; index < last; index++) {
			const row = this.rowAt(index - first);
			this.fill(row, index);
			rows.push(row);
		}
		const height = (n) => `${n * ROW_HEIGHT}px`;
		this.above.cells[0].style.height = height(first);
		this.below.cells[0].style.height = height(this.entries.length - last);
		const wanted = [this.above, ...rows, this.below];
		if (wanted.length !== this.body.children.length)
			this.body.replaceChildren(...wanted);
	}
}
