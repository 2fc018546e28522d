# Shell completion: each tool prints its own (a hidden option). Like the manual
# pages the files are shipped ready-made, and made again when the sources change.
completion_file = $(AM_V_GEN)$(SHELL) $(top_srcdir)/completion/generate

bashcompletiondir = $(datadir)/bash-completion/completions
zshcompletiondir = $(datadir)/zsh/site-functions
fishcompletiondir = $(datadir)/fish/vendor_completions.d
dist_bashcompletion_DATA =
dist_zshcompletion_DATA =
dist_fishcompletion_DATA =

dist_bashcompletion_DATA += %D%/bash/msend
dist_zshcompletion_DATA += %D%/zsh/_msend
dist_fishcompletion_DATA += %D%/fish/msend.fish
%D%/bash/msend: %D%/generate $(bin_msend_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/msend$(EXEEXT)
	$(completion_file) bin/msend$(EXEEXT) bash $@
%D%/zsh/_msend: %D%/generate $(bin_msend_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/msend$(EXEEXT)
	$(completion_file) bin/msend$(EXEEXT) zsh $@
%D%/fish/msend.fish: %D%/generate $(bin_msend_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/msend$(EXEEXT)
	$(completion_file) bin/msend$(EXEEXT) fish $@

dist_bashcompletion_DATA += %D%/bash/mrecv
dist_zshcompletion_DATA += %D%/zsh/_mrecv
dist_fishcompletion_DATA += %D%/fish/mrecv.fish
%D%/bash/mrecv: %D%/generate $(bin_mrecv_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mrecv$(EXEEXT)
	$(completion_file) bin/mrecv$(EXEEXT) bash $@
%D%/zsh/_mrecv: %D%/generate $(bin_mrecv_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mrecv$(EXEEXT)
	$(completion_file) bin/mrecv$(EXEEXT) zsh $@
%D%/fish/mrecv.fish: %D%/generate $(bin_mrecv_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mrecv$(EXEEXT)
	$(completion_file) bin/mrecv$(EXEEXT) fish $@

dist_bashcompletion_DATA += %D%/bash/mrelay
dist_zshcompletion_DATA += %D%/zsh/_mrelay
dist_fishcompletion_DATA += %D%/fish/mrelay.fish
%D%/bash/mrelay: %D%/generate $(bin_mrelay_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mrelay$(EXEEXT)
	$(completion_file) bin/mrelay$(EXEEXT) bash $@
%D%/zsh/_mrelay: %D%/generate $(bin_mrelay_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mrelay$(EXEEXT)
	$(completion_file) bin/mrelay$(EXEEXT) zsh $@
%D%/fish/mrelay.fish: %D%/generate $(bin_mrelay_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mrelay$(EXEEXT)
	$(completion_file) bin/mrelay$(EXEEXT) fish $@

dist_bashcompletion_DATA += %D%/bash/mretry
dist_zshcompletion_DATA += %D%/zsh/_mretry
dist_fishcompletion_DATA += %D%/fish/mretry.fish
%D%/bash/mretry: %D%/generate $(bin_mretry_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mretry$(EXEEXT)
	$(completion_file) bin/mretry$(EXEEXT) bash $@
%D%/zsh/_mretry: %D%/generate $(bin_mretry_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mretry$(EXEEXT)
	$(completion_file) bin/mretry$(EXEEXT) zsh $@
%D%/fish/mretry.fish: %D%/generate $(bin_mretry_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mretry$(EXEEXT)
	$(completion_file) bin/mretry$(EXEEXT) fish $@

dist_bashcompletion_DATA += %D%/bash/mtrace
dist_zshcompletion_DATA += %D%/zsh/_mtrace
dist_fishcompletion_DATA += %D%/fish/mtrace.fish
%D%/bash/mtrace: %D%/generate $(bin_mtrace_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mtrace$(EXEEXT)
	$(completion_file) bin/mtrace$(EXEEXT) bash $@
%D%/zsh/_mtrace: %D%/generate $(bin_mtrace_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mtrace$(EXEEXT)
	$(completion_file) bin/mtrace$(EXEEXT) zsh $@
%D%/fish/mtrace.fish: %D%/generate $(bin_mtrace_SOURCES) $(lib_cli_libcli_la_SOURCES) | bin/mtrace$(EXEEXT)
	$(completion_file) bin/mtrace$(EXEEXT) fish $@

EXTRA_DIST += %D%/generate
