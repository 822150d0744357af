# SPDX-License-Identifier: Apache-2.0
# install and uninstall, under DESTDIR and PREFIX. Manual pages and completions come from the
# command's own table: `bpfnet man` lists the pages, `bpfnet man PAGE` and `bpfnet completion SHELL`
# print them.

INSTALL ?= install
SBINDIR ?= $(PREFIX)/sbin
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/site-functions
FISHCOMPDIR ?= $(PREFIX)/share/fish/vendor_completions.d
DATADIR ?= $(PREFIX)/share/bpfnet
CONFIG := $(DESTDIR)$(SYSCONFDIR)/bpfnet/bpfnetd.yaml

GENERATED := $(BUILD)/install

.PHONY: install-files
install-files: $(BUILD)/bpfnet systemd/bpfnetd.service.in
	$(Q)rm -rf $(GENERATED) && mkdir -p $(GENERATED)/man1 $(GENERATED)/completion
	$(Q)for page in $$($(BUILD)/bpfnet man); do \
		$(BUILD)/bpfnet man $$page > $(GENERATED)/man1/$$page.1 || exit 1; done
	$(Q)for shell in bash zsh fish; do \
		$(BUILD)/bpfnet completion $$shell > $(GENERATED)/completion/$$shell || exit 1; done
	$(Q)sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' \
		systemd/bpfnetd.service.in > $(GENERATED)/bpfnetd.service

install: all install-files ## install under DESTDIR and PREFIX; a changed configuration file is kept
	$(INSTALL) -D -m 0755 $(BUILD)/bpfnetd $(DESTDIR)$(SBINDIR)/bpfnetd
	$(INSTALL) -D -m 0755 $(BUILD)/bpfnet $(DESTDIR)$(BINDIR)/bpfnet
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(MANDIR)/man1 $(GENERATED)/man1/*.1
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(MANDIR)/man8 man/bpfnetd.8
	$(INSTALL) -D -m 0644 $(GENERATED)/completion/bash $(DESTDIR)$(BASHCOMPDIR)/bpfnet
	$(INSTALL) -D -m 0644 $(GENERATED)/completion/zsh $(DESTDIR)$(ZSHCOMPDIR)/_bpfnet
	$(INSTALL) -D -m 0644 $(GENERATED)/completion/fish $(DESTDIR)$(FISHCOMPDIR)/bpfnet.fish
	$(INSTALL) -D -m 0644 $(GENERATED)/bpfnetd.service $(DESTDIR)$(UNITDIR)/bpfnetd.service
	$(INSTALL) -D -m 0644 contrib/grafana/bpfnet.json $(DESTDIR)$(DATADIR)/grafana/bpfnet.json
	$(INSTALL) -D -m 0644 contrib/prometheus/bpfnet.rules.yml $(DESTDIR)$(DATADIR)/prometheus/bpfnet.rules.yml
	$(INSTALL) -d -m 0755 $(DESTDIR)$(SYSCONFDIR)/bpfnet/manifests
	@test -e $(CONFIG) || $(INSTALL) -m 0644 systemd/bpfnetd.yaml $(CONFIG)

uninstall: ## remove what install laid down (first `bpfnetd --uninstall`, which removes the datapath)
	rm -f $(DESTDIR)$(SBINDIR)/bpfnetd $(DESTDIR)$(BINDIR)/bpfnet
	rm -f $(DESTDIR)$(MANDIR)/man1/bpfnet.1 $(DESTDIR)$(MANDIR)/man1/bpfnet-*.1 \
		$(DESTDIR)$(MANDIR)/man8/bpfnetd.8
	rm -f $(DESTDIR)$(BASHCOMPDIR)/bpfnet $(DESTDIR)$(ZSHCOMPDIR)/_bpfnet \
		$(DESTDIR)$(FISHCOMPDIR)/bpfnet.fish $(DESTDIR)$(UNITDIR)/bpfnetd.service
	rm -f $(DESTDIR)$(DATADIR)/grafana/bpfnet.json $(DESTDIR)$(DATADIR)/prometheus/bpfnet.rules.yml
	@rmdir $(DESTDIR)$(DATADIR)/grafana $(DESTDIR)$(DATADIR)/prometheus $(DESTDIR)$(DATADIR) 2>/dev/null || :
	@if cmp -s systemd/bpfnetd.yaml $(CONFIG); then rm -f $(CONFIG); fi
	-@rmdir $(DESTDIR)$(SYSCONFDIR)/bpfnet/manifests $(DESTDIR)$(SYSCONFDIR)/bpfnet 2>/dev/null || \
		echo 'kept $(DESTDIR)$(SYSCONFDIR)/bpfnet: it has files of yours'
