// SPDX-License-Identifier: Apache-2.0
// One flow with all its fields.

function fieldsOf(value, path, add) {
	if (value === null || typeof value !== "object")
		return add(path, String(value));
	if (Array.isArray(value) && value.every((v) => typeof v !== "object"))
		return add(path, value.join("\n"));
	for (const [key, inner] of Object.entries(value))
		fieldsOf(inner, Array.isArray(value) ? `${path}[${key}]` : path ? `${path}.${key}` : key, add);
	return undefined;
}

export function makeDetail() {
	const byId = (id) => document.getElementById(id);
	const [panel, fields, title] = [byId("detail"), byId("fields"), byId("detail-title")];
	let flow = null, before = null;

	function close() {
		panel.hidden = true;
		before?.focus();
	}

	byId("close").addEventListener("click", close);
	byId("copy").addEventListener("click", async () => {
		// a page that is not from localhost or over TLS has no clipboard
		try {
			await navigator.clipboard.writeText(JSON.stringify(flow, null, 2));
			byId("copy").textContent = "Copied";
		} catch {
			byId("copy").textContent = "Not allowed here";
		}
		setTimeout(() => { byId("copy").textContent = "Copy JSON"; }, 1500);
	});
	addEventListener("keydown", (event) => {
		if (event.key === "Escape" && !panel.hidden)
			close();
	});
	return {
		open(which) {
			flow = which;
			before = panel.hidden ? document.activeElement : before;
			title.textContent = `Flow ${flow.event_type ?? ""}`;
			fields.replaceChildren();
			fieldsOf(flow, "", (path, text) => {
				const name = document.createElement("dt"), value = document.createElement("dd");
				name.textContent = path;
				value.textContent = text;
				fields.append(name, value);
			});
			panel.hidden = false;
		},
	};
}
