// SPDX-License-Identifier: Apache-2.0
// The flows as they come. A connection that ends is made again, from the last flow on.

import {timeNs} from "./flow.js";

const REPLAY = 1000;
const SILENCE_MS = 40000; // the server says something every 15 seconds
const WAITS_MS = [500, 1000, 2000, 5000];

// Nanoseconds don't fit into a number of JavaScript's: `since` is put into the text.
export function queryText(filters, since) {
	const query = JSON.stringify({follow: true, filters, ...(since === null ? {last: REPLAY} : {})});
	return since === null ? query : query.replace(/}$/, `,"since":${since}}`);
}

export class Stream {
	// on.line(object), on.state("connecting" | "live" | "waiting"), on.refused(text),
	// on.clock(ms of the node minus ours)
	constructor(on) {
		this.on = on;
		this.abort = null;
		this.since = null;
		this.failures = 0;
	}

	start(filters) {
		this.stop();
		this.filters = filters;
		this.since = null;
		this.failures = 0;
		this.connect();
	}

	stop() {
		this.abort?.abort();
		clearTimeout(this.retry);
	}

	async connect() {
		const abort = this.abort = new AbortController();
		const url = `/api/flows?query=${encodeURIComponent(queryText(this.filters, this.since))}`;
		this.on.state("connecting");
		try {
			const response = await fetch(url, {signal: abort.signal, cache: "no-store"});
			if (response.status === 400) {
				this.on.refused((await response.json()).error);
				return;
			}
			if (!response.ok)
				throw new Error(`${response.status}`);
			const date = Date.parse(response.headers.get("Date"));
			if (!Number.isNaN(date))
				this.on.clock(date - Date.now());
			this.failures = 0;
			this.on.state("live");
			await this.read(response.body, abort);
		} catch {
			// whatever it was, the connection is over
		}
		if (this.abort !== abort || abort.signal.reason === "stop")
			return;
		this.on.state("waiting");
		this.retry = setTimeout(() => this.connect(),
			WAITS_MS[Math.min(this.failures++, WAITS_MS.length - 1)]);
	}

	async read(body, abort) {
		const reader = body.pipeThrough(new TextDecoderStream()).getReader();
		let rest = "", watchdog;
		const heard = () => {
			clearTimeout(watchdog);
			watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
		};
		try {
			for (;;) {
				heard();
				const {value, done} = await reader.read();
				if (done || this.abort !== abort)
					return;
				const lines = (rest + value).split("\n");
				rest = lines.pop();
				for (const line of lines) {
					if (line)
						this.take(JSON.parse(line));
				}
			}
		} finally {
			clearTimeout(watchdog);
		}
	}

	take(line) {
		const ns = line.lost_events ? null : timeNs(line.time);
		if (ns !== null && (this.since === null || ns >= this.since))
			this.since = ns + 1n;
		this.on.line(line);
	}
}
