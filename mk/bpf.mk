# SPDX-License-Identifier: Apache-2.0
# The datapath: clang to BPF with BTF and CO-RE, one skeleton for each bpf/*.bpf.c.

BPF_SRC := $(wildcard bpf/*.bpf.c)
BPF_OBJ := $(BPF_SRC:%.bpf.c=$(BUILD)/%.bpf.o)
BPF_SKEL := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/skel/%.skel.h)
# gen object drops DWARF, which would otherwise travel in the agent: BTF stays
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -D__bpf__ -DBPF_NO_KFUNC_PROTOTYPES -D__TARGET_ARCH_x86 \
	-Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-declarations \
	-Wno-address-of-packed-member -fms-extensions -Wno-microsoft-anon-tag -I$(dir $(VMLINUX_H)) -Imaps -Ibpf

.SECONDARY: $(BPF_OBJ)
.PHONY: skeletons
skeletons: $(BPF_SKEL)

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@.tmp
	$(Q)$(BPFTOOL) gen object $@ $@.tmp && rm $@.tmp

$(BUILD)/skel/%.skel.h: $(BUILD)/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name bn_$(subst -,_,$*) > $@

vmlinux: ## make vmlinux/vmlinux.h anew from the running kernel's BTF
	$(Q)tools/vmlinux.sh > vmlinux/vmlinux.h

-include $(BPF_OBJ:.o=.d)
