// SPDX-License-Identifier: Apache-2.0
// What a flow, one object of the stream, says: its ends, names and texts as `bpfnet flows -o table`
// has them, and its way over the map.

const APP_LABELS = ["k8s:app.kubernetes.io/name=", "k8s:k8s-app=", "k8s:app="];
// what a ReplicaSet, DaemonSet, Job or StatefulSet adds to its own name
const POD_SUFFIX = /(-[a-z0-9]{6,10}-[a-z0-9]{5}|-[bcdfghjklmnpqrstvwxz2456789]{5}|-\d+)$/;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function layer4(flow) {
	const [name, fields] = Object.entries(flow.l4 ?? {})[0] ?? [null, {}];
	return {name, fields: typeof fields === "object" ? fields : {protocol: fields}};
}

function address(ip, port) {
	if (!ip)
		return "-";
	if (!port)
		return ip;
	return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

export function endText(flow, end) {
	const port = layer4(flow).fields[`${end}_port`];
	const {pod_name: pod, namespace} = flow[end] ?? {};
	if (!pod)
		return address(flow.IP?.[end], port);
	return `${namespace}/${pod}${port ? `:${port}` : ""}`;
}

function serviceOf(flow) {
	return flow.destination_service ?? flow.source_service;
}

export function serviceText(flow) {
	const service = serviceOf(flow);
	return [service && `${service.namespace}/${service.name}`,
		flow.original && address(flow.original.ip, flow.original.port)].filter(Boolean).join(" ");
}

function ruleText(direction, rule) {
	const name = (rule.namespace ? `${rule.namespace}/` : "") + rule.name;
	if (!Number.isInteger(rule.index))
		return `${direction} no rule: default deny by ${name}`;
	return `${direction} ${name} rule ${rule.index}${rule.rule ? ` "${rule.rule}"` : ""}`;
}

export function policyText(flow) {
	const texts = [];
	for (const direction of ["egress", "ingress"]) {
		for (const what of ["denied", "allowed"]) {
			for (const rule of flow[`${direction}_${what}_by`] ?? [])
				texts.push(ruleText(direction, rule));
		}
	}
	return texts.join(", ");
}

function bytesText(n) {
	let unit = 0;
	for (; n >= 1024 && unit < UNITS.length - 1; unit++)
		n /= 1024;
	return `${unit ? n.toFixed(1) : n} ${UNITS[unit]}`;
}

function flagsText(flags) {
	return Object.keys(flags ?? {}).filter((flag) => flags[flag]).join(",");
}

export function summaryText(flow) {
	const {name, fields} = layer4(flow);
	const parts = [name ?? "no transport header"];
	if ("protocol" in fields)
		parts.push(fields.protocol);
	if ("type" in fields)
		parts.push(`type ${fields.type}`);
	if (flagsText(fields.flags))
		parts.push(flagsText(fields.flags));
	let text = parts.join(" ");
	if (flow.close_cause) {
		text += ` ${flow.close_cause}${flow.closed_by ? ` by ${flow.closed_by}` : ""}, ` +
			`${flow.packets} packets ${bytesText(flow.bytes)} out, ` +
			`${flow.reply_packets} packets ${bytesText(flow.reply_bytes)} in, ` +
			`${(flow.duration_ms / 1000).toFixed(3)} s`;
		if (flow.handshake_us)
			text += `, handshake ${flow.handshake_us} us`;
	}
	return flow.drop_reason_desc ? `${flow.drop_reason_desc}; ${text}` : text;
}

export function verdictOf(flow) {
	return {DROPPED: "dropped", AUDIT: "audit"}[flow.verdict] ?? "forwarded";
}

// Nanoseconds since the epoch, a BigInt: more than a number holds.
export function timeNs(time) {
	const [, seconds, digits] = /^(.*?)(?:\.(\d{1,9}))?Z$/.exec(time) ?? [];
	const ms = Date.parse(`${seconds}Z`);
	return Number.isNaN(ms) ? null : BigInt(ms) * 1000000n + BigInt((digits ?? "").padEnd(9, "0"));
}

function workload(pod, labels) {
	for (const prefix of APP_LABELS) {
		const label = labels.find((l) => l.startsWith(prefix));
		if (label)
			return label.slice(prefix.length);
	}
	return pod.replace(POD_SUFFIX, "") || pod;
}

// A node of the map: `id` for its workload, `group` for its namespace; both the same where there
// is none.
function place(end) {
	const {pod_name: pod, namespace = "", node_name: node, labels = []} = end ?? {};
	if (pod) {
		const app = workload(pod, labels);
		return {id: `w:${namespace}/${app}`, group: `n:${namespace}`, name: app, sub: namespace,
			pod, kind: "workload", namespace};
	}
	const reserved = labels.find((l) => l.startsWith("reserved:"))?.slice(9) ?? "unknown";
	const id = `r:${reserved}/${node ?? ""}`;
	return {id, group: id, name: reserved, sub: node ?? "", kind: reserved, namespace: ""};
}

function servicePlace(service) {
	const {namespace = "", name = ""} = service;
	return {id: `s:${namespace}/${name}`, group: `ns:${namespace}`, name, sub: namespace,
		kind: "service", namespace};
}

// The way of a flow: from, perhaps the service, to; in the direction of the request. Without a
// backend there is no `to`.
export function wayOf(flow) {
	const back = flow.is_reply === true;
	const from = place(back ? flow.destination : flow.source);
	const to = place(back ? flow.source : flow.destination);
	const service = serviceOf(flow);
	if (!service)
		return [from, to];
	const via = servicePlace(service);
	return to.kind === "workload" || verdictOf(flow) !== "dropped" ? [from, via, to] : [from, via];
}
