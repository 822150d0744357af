# SPDX-License-Identifier: Apache-2.0
# Benchmarks: ratios in one run, never absolute times. `make bench` prints the table and writes
# build/bench/*.json; the rows that need a running node have targets of their own.

BENCH_SRC := $(wildcard tests/bench/*.c)
BENCH_SRC := $(filter-out %.bpf.c,$(BENCH_SRC))
BENCH_OBJ := $(BENCH_SRC:%.c=$(BUILD)/%.o)
BENCH_ROUNDS ?= 20

$(BUILD)/tests/bench/wrap.bpf.o: tests/bench/wrap.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -Itests/bench -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@

$(BUILD)/tests/bench/wrap.skel.h: $(BUILD)/tests/bench/wrap.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name bench_wrap > $@

$(BUILD)/tests/bench/%.o: tests/bench/%.c $(BUILD)/tests/bench/wrap.skel.h | skeletons
	$(call say,CC,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(TESTLIB_FLAGS) -I$(BUILD)/tests/bench \
		$(call pkg_cflags,$(PKGS_TESTLIB)) -c $< -o $@

# cmocka is for the cases of the program tests alone
$(BUILD)/tests/bench/bench: $(BENCH_OBJ) $(filter-out %/program.o %/case.o,$(TESTLIB_OBJ))
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $^ -o $@ $(call pkg_libs,libbpf)

bench: $(BUILD)/tests/bench/bench ## packet costs against an empty program (root)
	@mkdir -p $(BUILD)/bench
	$(Q)$< $(BENCH_ROUNDS) > $(BUILD)/bench/packets.jsonl
	$(Q)$(PYTHON) tests/bench/report.py $(BUILD)/bench/packets.jsonl $(BUILD)/bench/packets.json

bench-policy: $(BUILD)/tests/bench/bench ## the same without policy, with one rule and with 10,000 at both ends (root)
	@mkdir -p $(BUILD)/bench
	$(Q)$< policy $(BENCH_ROUNDS) > $(BUILD)/bench/policy.jsonl
	$(Q)$(PYTHON) tests/bench/report.py $(BUILD)/bench/policy.jsonl $(BUILD)/bench/policy.json

bench-packets: $(BUILD)/tests/bench/bench ## 10,000 services against 10, packet by packet: 80 rounds of TCP over IPv4 (root)
	@mkdir -p $(BUILD)/bench
	$(Q)$< services 80 tcp4 > $(BUILD)/bench/services.jsonl
	$(Q)$(PYTHON) tests/bench/report.py $(BUILD)/bench/services.jsonl $(BUILD)/bench/services.json

-include $(BENCH_OBJ:.o=.d) $(BUILD)/tests/bench/wrap.bpf.d

.PHONY: bench-policy bench-packets bench-quiet bench-quiet-sockets bench-idle bench-scale bench-restart bench-churn \
	bench-policies-scale bench-policies-gap bench-netns bench-services bench-flows
bench-quiet: $(BUILD)/tests/bench/bench ## one quiet connection among 2 million short ones and DNS
	@mkdir -p $(BUILD)/bench
	$(Q)$< quiet | tee $(BUILD)/bench/quiet.json

$(BUILD)/bench/offer: tests/bench/offer/offer.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(BN_CFLAGS) $< -o $@ $(CFLAGS)

.PHONY: bench-accounts
bench-accounts: all $(BUILD)/bench/offer ## 200,000 new flows a second for 10 s: what became of every record (root)
	$(Q)BPFNET_BUILD=$(BUILD) $(PYTHON) tests/bench/accounts.py

# NUMBER: of short connections, and of DNS exchanges
NUMBER ?= 2000000
bench-quiet-sockets: all ## the same with real sockets, NUMBER of each: some five minutes (root)
	$(Q)BPFNET_BUILD=$(BUILD) $(PYTHON) tests/bench/quiet-sockets.py $(NUMBER)

bench-idle bench-scale bench-restart bench-churn bench-policies-scale bench-policies-gap: bench-%: all ## figures of a running node (root)
	$(Q)BPFNET_BUILD=$(BUILD) $(PYTHON) tests/bench/$*.py

# BASELINE: the folder of the baseline benchmark, which compares with routing and kube-proxy's rules
define bench_baseline
	@test -n "$(BASELINE)" || { echo '$@: say where the baseline is: BASELINE=FOLDER' >&2; exit 2; }
	@rm -rf $(BUILD)/bench/baseline && mkdir -p $(BUILD)/bench
	$(Q)cp -r $(BASELINE) $(BUILD)/bench/baseline && chmod -R u+w $(BUILD)/bench/baseline
	$(Q)$(MAKE) -C $(BUILD)/bench/baseline
	$(Q)cd $(BUILD)/bench/baseline && BPFNET_MODE=$(CURDIR)/tests/bench/mode.py \
		BPFNET_BUILD=$(BUILD) $(PYTHON) bench.py --keep --rounds $(BENCH_ROUNDS) \
		--out $(abspath $(BUILD))/bench/$@.json $(BENCH_OPTIONS)
endef

bench-netns: BENCH_OPTIONS = --modes direct --measures crr32,crr1,rr32,rr1,stream,urr32,ucrr32 \
	--custom $(CURDIR)/tests/bench/bpfnet.json
bench-netns: all ## CPU per connection and request against plain routing: BASELINE=FOLDER (root)
	$(bench_baseline)

# pod -> ClusterIP, connect, request, response, close: with 1 and with 10,000 services
SERVICES_MODES := bpfnet-1 bpfnet-10000 bpfnet-socket-1 bpfnet-socket-10000
bench-services: BENCH_OPTIONS = --modes direct,nft-1,nft-10000 --measures crr32,crr1,ucrr32 \
	--changes 0 $(SERVICES_MODES:%=--custom $(CURDIR)/tests/bench/%.json)
bench-services: all ## connections with 1 and 10,000 services, kube-proxy's nftables rules beside: BASELINE=FOLDER (root)
	$(bench_baseline)

# what the records of flows cost: none, kept by the agent, read by somebody, and by one more who has stalled
FLOWS_MODES := flows-off flows-on flows-read flows-stalled
bench-flows: BENCH_OPTIONS = --modes direct --measures crr32,crr1,rr32,stream,ucrr32 --changes 0 \
	$(FLOWS_MODES:%=--custom $(CURDIR)/tests/bench/%.json)
bench-flows: all ## connections and throughput with flows off, kept, read and not read on: BASELINE=FOLDER (root)
	$(bench_baseline)
