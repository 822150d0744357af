// SPDX-License-Identifier: Apache-2.0
// The filters in force: names of fields are the flags of `bpfnet flows`. They stand in the address's
// fragment, so that a view can be kept and handed on.

export const FIELDS = ["pod", "from-pod", "to-pod", "namespace", "from-namespace", "to-namespace",
	"service", "verdict", "drop-reason", "protocol", "port", "from-port", "to-port", "ip", "from-ip",
	"to-ip", "label", "identity", "from-identity", "to-identity", "tcp-flags"];

const HINTS = {
	pod: "default/web", service: "default/web", namespace: "default", port: "443",
	ip: "10.0.0.0/8", label: "app=web", identity: "world", "tcp-flags": "SYN,RST",
	verdict: "dropped", protocol: "tcp", "drop-reason": "policy-ingress",
};
const CHOICES = {
	verdict: ["forwarded", "dropped", "audit"],
	protocol: ["tcp", "udp", "sctp", "icmp"],
	identity: ["host", "world", "remote-node", "unknown"],
	"tcp-flags": ["SYN", "FIN", "RST"],
};

export function flagText({field, value, not}) {
	return `${not ? "--not " : ""}--${field} ${value}`;
}

function read() {
	const list = [];
	for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
		const not = key.startsWith("not.");
		const field = not ? key.slice(4) : key;
		if (FIELDS.includes(field))
			list.push({field, value, not});
	}
	return list;
}

function write(list) {
	const hash = new URLSearchParams(list.map((f) => [(f.not ? "not." : "") + f.field, f.value]));
	history.replaceState(null, "", list.length ? `#${hash}` : location.pathname);
}

// changed() is called after every change; reasons() gives the drop reasons seen so far.
export function makeFilters({changed, reasons}) {
	const byId = (id) => document.getElementById(id);
	const [form, field, value, not, chips, wrong, values] =
		["filters", "field", "value", "not", "chips", "wrong", "values"].map(byId);
	let list = read();

	function option(text) {
		const o = document.createElement("option");
		o.value = o.textContent = text;
		return o;
	}

	function show() {
		chips.replaceChildren(...list.map((filter) => {
			const item = document.createElement("li"), chip = document.createElement("button");
			chip.type = "button";
			chip.className = "chip";
			chip.textContent = `${flagText(filter)} ×`;
			chip.title = "Remove this filter";
			chip.addEventListener("click", () => set(list.filter((f) => f !== filter)));
			item.append(chip);
			return item;
		}));
	}

	function set(next) {
		list = next;
		write(list);
		wrong.textContent = "";
		show();
		changed();
	}

	function hint() {
		const base = field.value.replace(/^(from|to)-/, "");
		const choices = base === "drop-reason" ? [...reasons()].sort() : CHOICES[base] ?? [];
		value.placeholder = HINTS[base] ?? "";
		values.replaceChildren(...choices.map(option));
	}

	field.replaceChildren(...FIELDS.map((name) => {
		const o = option(name);
		o.textContent = `--${name}`;
		return o;
	}));
	field.addEventListener("change", hint);
	value.addEventListener("focus", hint);
	form.addEventListener("submit", (event) => {
		event.preventDefault();
		if (!value.value.trim())
			return value.focus();
		const filter = {field: field.value, value: value.value.trim(), not: not.value === "not"};
		value.value = "";
		set([...list.filter((f) => flagText(f) !== flagText(filter)), filter]);
	});
	addEventListener("hashchange", () => set(read()));
	hint();
	show();
	return {
		get list() { return list; },
		refused(text) { wrong.textContent = text; },
	};
}
