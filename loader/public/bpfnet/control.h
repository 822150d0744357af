/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol: how `bpfnet` (or anything else) talks to bpfnetd over the stream socket
 * <run-dir>/bpfnet.sock. Version 1.
 *
 * A request is one line of JSON, then `body` raw bytes where the method takes a body. Descriptors
 * travel by SCM_RIGHTS with the request's first byte.
 *
 *   {"v":1,"method":"svc.get","params":{"namespace":"default","name":"web"}}\n
 *   {"v":1,"method":"apply","params":{"files":[{"name":"a.yaml","size":120}]},"body":120}\n<120 bytes>
 *
 * `params` and `body` may be left out; keys that the agent does not know are ignored. The agent
 * answers with one line:
 *
 *   {"ok":true,"result":...}\n
 *   {"ok":false,"error":"one line for people","code":"one of BN_CONTROL_CODE_*"}\n
 *
 * A streaming method answers {"ok":true,"stream":true}\n, then one object a line, then, unless
 * the client hangs up first, {"end":true,...}\n. Where a reader is slower than a live stream, the
 * lines it missed are counted and {"lost":N}\n stands in their place. A stream of flows says it as
 * {"lost_events":...}, and also of what the datapath had no room for.
 *
 * Requests on one connection are answered one after the other, and descriptors may only be sent
 * when the previous answer has arrived. After a request that could not be read to its end (not
 * JSON, too long, a body that is not wanted) the agent answers and hangs up.
 *
 * Who may: root everything; members of the configured group the methods marked READ; others are
 * refused with code "forbidden".
 */
#pragma once

#define BN_CONTROL_VERSION 1
#define BN_CONTROL_SOCKET "bpfnet.sock"
#define BN_CONTROL_DEFAULT_RUN_DIR "/run/bpfnet"

/*
 * Limits. The request line, newline included: a writer's may name the ten thousand files of a
 * folder, a reader's never needs that much.
 */
#define BN_CONTROL_LINE_MAX_READ (64u << 10)
#define BN_CONTROL_LINE_MAX_WRITE (1u << 20)
#define BN_CONTROL_BODY_MAX (256u << 20)  /* all manifests of one apply or delete */
#define BN_CONTROL_REPLY_MAX (128u << 20) /* an answer, or the items of one that wait to be read */
#define BN_CONTROL_FDS_MAX 1u

/*
 * X(name, access, body, descriptors): every method of version 1, who may call it, how large a
 * body it takes at most and how many descriptors. Parameters and results:
 *
 * apply, delete     params {files: [{name, size}]}; the body is the files' texts one after the
 *                   other, the sizes add up to it. Result [{kind, namespace, name, result}] in
 *                   the order given; `namespace` is absent for cluster-wide kinds, `result` is
 *                   created, configured, unchanged or deleted. Answered when the datapath has it.
 * get               params {kind, namespace, name}: `kind` as in manifests ("Service"), the other
 *                   two optional. Result: array of complete objects, ordered by namespace and
 *                   name; with a name, exactly one (else code "not-found").
 * endpoint.add      params {namespace, pod, netns, ifname, ips: [...]} and one descriptor, of the
 *                   network namespace; `netns` is what the user called it, for display, `ifname`
 *                   the name of the pod's side. Result: the endpoint, as in endpoint.list.
 * endpoint.delete   params {namespace, pod}. Result: the endpoint that was.
 * endpoint.list     Result [{namespace, pod, ips, netns, ifname, host_ifname, identity, state,
 *                   policy: {ingress, egress}}].
 * svc.list          params {namespace} optional. Result [{namespace, name, type, frontends: [{ip,
 *                   port, protocol, kind}], backends: [{ip, port, state, weight, node, pod,
 *                   connections}]}].
 * svc.get           params {namespace, name}. Result: one of these objects.
 * policy.list       params {namespace} optional. Result [{namespace, name, types, endpoints, rules:
 *                   [{direction, index, hits}], denied: {ingress, egress}}]: `endpoints` of this
 *                   node that it selects, `hits` flows that a rule let pass, `denied` those that
 *                   no rule did.
 * policy.get        params {namespace, name}. Result: one of these objects.
 * policy.trace      params {from, to, port, protocol}: `from` and `to` NS/POD or an address,
 *                   `protocol` tcp (or absent), udp, sctp or icmp, which has no port. Result
 *                   {verdict, drop_reason, rules: [{policy, direction, index, allow}], service,
 *                   backend, source_identity, destination_identity, source, destination}: what a
 *                   flow's first packet would meet now. `index` null: no rule, the policy's
 *                   default. `service` NS/NAME, `backend` IP:PORT, both null without.
 * why               params {from, to, port, protocol}: `from` NS/POD, the others optional; `to`
 *                   NS/POD, NS/SERVICE, svc/NS/SERVICE, IP, IPv4:PORT or [IP]:PORT. Result {ok,
 *                   layers: [{layer, of, ok, text, advice}], text}: what was looked at, in the
 *                   order of the walk; `advice` is null where nothing is to be done, `text` of
 *                   the whole says what is wrong first, in a sentence.
 * flows             stream of flows. params {follow: bool, last: N, since: T, until: T, filters:
 *                   [{field, value, not}]}, all optional; T in nanoseconds since the epoch,
 *                   `last` 0 (or absent): all that are kept, and none of them with `follow` and
 *                   no `since`. Fields are the names of the filter options of `bpfnet flows`:
 *                   pod, from-pod, to-pod (NS/NAME, NAME being a prefix), namespace,
 *                   from-namespace, to-namespace, label (KEY or KEY=VALUE), ip, from-ip, to-ip
 *                   (address or CIDR), port, from-port, to-port (decimal), identity,
 *                   from-identity, to-identity (decimal, or unknown, host, world, remote-node),
 *                   tcp-flags (SYN,ACK: all of them), protocol (tcp, udp, sctp, icmp, icmpv6),
 *                   verdict (FORWARDED, DROPPED, AUDIT), drop-reason (a label of
 *                   drop_reasons.h), service (NS/NAME). Values of one field are alternatives,
 *                   different fields must all match; `not` turns its own entry into one that
 *                   must not match.
 * trace             stream of packets, each once for each hook that it passes, for as long as the
 *                   connection lasts. params {filters: [{field, value}]}, optional; fields as of
 *                   flows: pod, from-pod, to-pod (a whole name), ip, from-ip, to-ip, port,
 *                   from-port, to-port, protocol, tcp-flags, verdict (FORWARDED, DROPPED),
 *                   drop-reason. A line is a flow's (event_type "trace") with two keys more: trace
 *                   {packet, hook, device, action, to_device, verdict}, `packet` being the same
 *                   number at all hooks, and capture {length, original_length, data}: the frame's
 *                   first bytes as it came to the hook, in base64. Records that are missing are told
 *                   as {missed: {rate: N, room: N}}. At most 8 traces at once (code "busy").
 * ct.list           stream of {protocol, source, source_port, destination, destination_port,
 *                   state, nat, packets, bytes, reply_packets, reply_bytes, service, direct,
 *                   expires_s}: `service` NS/NAME or null; `direct` true: by direct server return;
 *                   of translated flows also to_source, to_source_port, to_destination and
 *                   to_destination_port.
 * nat.list          stream of {protocol, source, source_port, destination, destination_port,
 *                   to_source, to_source_port, to_destination, to_destination_port, expires_s}.
 *                   Where a backend answers by direct server return, it is the source and the
 *                   frontend `to_source`.
 * map.list          Result [{name, entries, max_entries, bytes}].
 * metrics           Result: Prometheus text, one string.
 * status            Result {state, reasons, node, version, kernel, features, attachments, maps};
 *                   `state` is live, starting or degraded.
 * config            Result: the configuration in force, keys as in the configuration file.
 * version           Result {version, control, node, kernel}.
 */
#define BN_CONTROL_METHODS(X) \
	X("apply", WRITE, BN_CONTROL_BODY_MAX, 0) \
	X("delete", WRITE, BN_CONTROL_BODY_MAX, 0) \
	X("get", READ, 0, 0) \
	X("endpoint.add", WRITE, 0, 1) \
	X("endpoint.delete", WRITE, 0, 0) \
	X("endpoint.list", READ, 0, 0) \
	X("svc.list", READ, 0, 0) \
	X("svc.get", READ, 0, 0) \
	X("policy.list", READ, 0, 0) \
	X("policy.get", READ, 0, 0) \
	X("policy.trace", READ, 0, 0) \
	X("why", READ, 0, 0) \
	X("flows", READ, 0, 0) \
	X("trace", WRITE, 0, 0) \
	X("ct.list", READ, 0, 0) \
	X("nat.list", READ, 0, 0) \
	X("map.list", READ, 0, 0) \
	X("map.audit", WRITE, 0, 0) \
	X("metrics", READ, 0, 0) \
	X("status", READ, 0, 0) \
	X("config", READ, 0, 0) \
	X("version", READ, 0, 0)

/* Codes of failures. */
#define BN_CONTROL_CODE_BAD_REQUEST "bad-request"       /* not a request of this protocol */
#define BN_CONTROL_CODE_VERSION "version"               /* another protocol version */
#define BN_CONTROL_CODE_UNKNOWN_METHOD "unknown-method" /* the agent does not have it */
#define BN_CONTROL_CODE_FORBIDDEN "forbidden"           /* the caller may not */
#define BN_CONTROL_CODE_TOO_LARGE "too-large"           /* request or answer beyond its limit */
#define BN_CONTROL_CODE_TIMEOUT "timeout"               /* the request did not arrive in time */
#define BN_CONTROL_CODE_BUSY "busy"                     /* try again later */
#define BN_CONTROL_CODE_INVALID "invalid"               /* refused for what it says */
#define BN_CONTROL_CODE_NOT_FOUND "not-found"
#define BN_CONTROL_CODE_CONFLICT "conflict" /* taken by something else */
#define BN_CONTROL_CODE_FULL "full"         /* does not fit; nothing was changed */
#define BN_CONTROL_CODE_FAILED "failed"     /* anything else; the text says what */
