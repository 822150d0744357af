/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured logs to standard error: one line a message, `level message key=value ...` as text
 * (with systemd's <N> priority prefix where the journal reads it) or as JSON lines. Modules that
 * are libraries stay silent and return errors; whoever handles an error logs it, once.
 */
#pragma once

enum bn_log_level {
	BN_LOG_ERROR = 3, /* syslog's numbers */
	BN_LOG_WARNING = 4,
	BN_LOG_INFO = 6,
	BN_LOG_DEBUG = 7,
};

enum bn_log_format {
	BN_LOG_TEXT,
	BN_LOG_JSON,
};

void bn_log_setup(enum bn_log_level max, enum bn_log_format format);
enum bn_log_level bn_log_max(void);

/*
 * `fields` follow the message as pairs of const char *key, const char *value, ended by NULL:
 *   bn_log(BN_LOG_INFO, "endpoint added", "pod", name, "ifname", ifname, NULL);
 */
void bn_log(enum bn_log_level level, const char *message, ...) __attribute__((sentinel));
/* printf form of the message, no fields. */
void bn_logf(enum bn_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
