// SPDX-License-Identifier: Apache-2.0
/*
 * bpfnetd: options, one instance, one event loop. SIGTERM and SIGINT end the agent and leave the
 * datapath in force; SIGHUP reads the manifests again.
 */
#include "agent/agent.h"
#include "config.h"
#include "instance.h"
#include "log.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* What libbpf has to say goes out one level lower than it thinks. */
static int libbpf_log(enum libbpf_print_level level, const char *format, va_list ap)
{
	char *text = NULL;

	if (bn_log_max() < BN_LOG_DEBUG)
		return 0;
	if (vasprintf(&text, format, ap) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	bn_log(BN_LOG_DEBUG, text, "from", "libbpf", NULL);
	free(text);
	return 0;
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGPIPE);
	return sigprocmask(SIG_BLOCK, &set, NULL) ? -errno : 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *si, void *user)
{
	struct bn_error err = BN_ERROR_INIT;

	if (bn_agent_reload(user, &err) < 0)
		bn_logf(BN_LOG_ERROR, "%s", bn_error_text(&err));
	bn_error_done(&err);
	return 0;
}

static struct bn_instance_folders folders_of(const struct bn_agent_config *c)
{
	return (struct bn_instance_folders){c->run_dir, c->state_dir, c->bpffs};
}

static int run(const struct bn_agent_config *config)
{
	const struct bn_instance_folders folders = folders_of(config);
	struct bn_instance instance = BN_INSTANCE_NULL;
	struct bn_error err = BN_ERROR_INIT;
	struct bn_agent agent = {0};
	sd_event *event = NULL;
	int r;

	r = block_signals();
	if (!r)
		r = sd_event_new(&event);
	if (r < 0)
		goto out;
	sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
	sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
	sd_event_add_signal(event, NULL, SIGHUP, on_hangup, &agent);
	r = bn_instance_start(&instance, &folders, NULL, &err);
	if (r < 0)
		goto out;
	r = bn_agent_start(&agent, config, event, &err);
	if (r < 0) {
		bn_instance_abandon(&instance, &folders);
		goto out;
	}
	bn_log(BN_LOG_INFO, "datapath live", "node", config->node_name, "attach",
	       bn_attach_mechanism_name(agent.attach.mechanism), "flows",
	       agent.programs.adopted ? "adopted" : "new", NULL);
	sd_notify(0, "READY=1\nSTATUS=datapath live");
	r = sd_event_loop(event);
	sd_notify(0, "STOPPING=1");
out:
	if (r < 0)
		bn_logf(BN_LOG_ERROR, "%s", err.text ? err.text : strerror(-r));
	bn_agent_done(&agent);
	bn_instance_done(&instance);
	sd_event_unref(event);
	bn_error_done(&err);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int uninstall(const struct bn_agent_config *config)
{
	const struct bn_instance_folders folders = folders_of(config);
	struct bn_instance instance = BN_INSTANCE_NULL;
	struct bn_error err = BN_ERROR_INIT;
	int r, r2;

	r = bn_instance_stop(&instance, &folders, BN_INSTANCE_GRACE_MS, NULL, &err);
	if (r >= 0) {
		r = bn_agent_uninstall(config, &err);
		r2 = bn_instance_remove(&instance, &folders, &err);
		r = r < 0 ? r : r2;
	}
	if (r < 0)
		bn_logf(BN_LOG_ERROR, "%s", err.text ? err.text : strerror(-r));
	bn_error_done(&err);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct bn_agent_config config = {0};
	struct bn_error err = BN_ERROR_INIT;
	enum bn_config_action action;
	int r;

	r = bn_agent_config_parse(argc, argv, &config, &action, &err);
	if (r < 0) {
		fprintf(stderr, "bpfnetd: %s\n", bn_error_text(&err));
		bn_error_done(&err);
		bn_agent_config_done(&config);
		return 2;
	}
	libbpf_set_print(libbpf_log);
	bn_log_setup(config.log_level, config.log_format);
	switch (action) {
	case BN_CONFIG_HELP:
		bn_agent_config_help(stdout);
		r = 0;
		break;
	case BN_CONFIG_VERSION:
		printf("bpfnetd %s\n", BN_VERSION);
		r = 0;
		break;
	case BN_CONFIG_UNINSTALL:
		r = uninstall(&config);
		break;
	case BN_CONFIG_RUN:
		r = run(&config);
		break;
	}
	bn_agent_config_done(&config);
	return r;
}
