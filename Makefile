# SPDX-License-Identifier: Apache-2.0
# bpfnet: `make help` lists the targets. Everything that is built goes under build/.

VERSION := 0.1.0
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
DESTDIR ?=
BUILD ?= build
V ?= 0
# SANITIZE=1: address and undefined-behaviour sanitizers, in a build folder of their own
SANITIZE ?= 0
ifeq ($(SANITIZE),1)
BUILD := $(BUILD)/sanitize
endif

CC ?= gcc
CLANG ?= $(firstword $(foreach c,clang-19 clang-18 clang-17 clang-16 clang,$(shell command -v $(c))))
# Ubuntu's /usr/sbin/bpftool is a wrapper that refuses kernels other than its own: take the real one
BPFTOOL ?= $(lastword $(shell command -v bpftool) $(wildcard /usr/sbin/bpftool) \
	$(sort $(wildcard /usr/lib/linux-tools/*/bpftool)))
PKG_CONFIG ?= pkg-config
VMLINUX_H ?= vmlinux/vmlinux.h
PYTHON ?= /usr/bin/python3

ifeq ($(V),0)
Q := @
say = @printf '  %-8s %s\n' $(1) $(2)
endif

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all deps demo test check check-unit check-program check-e2e check-kernels bench fuzz lint \
	install uninstall clean format help sanitize vmlinux compile_commands.json
.DEFAULT_GOAL := all

include mk/userspace.mk
include mk/bpf.mk
include mk/tests.mk
include mk/program.mk
include mk/fuzz.mk
include mk/bench.mk
include mk/install.mk

all: $(BUILD)/bpfnetd $(BUILD)/bpfnet compile_commands.json ## build everything

deps: ## install what building, testing and the demo need (Debian, Ubuntu; root)
	$(Q)tools/deps.sh

clean: ## remove what was built
	rm -rf $(BUILD) compile_commands.json

format: ## format the C sources in place
	$(Q)tools/format.sh

sanitize: ## build with the address and undefined-behaviour sanitizers, under build/sanitize
	$(MAKE) SANITIZE=1 all

help: ## list the targets
	@awk -F':.*## ' '/^[a-z_.-]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
