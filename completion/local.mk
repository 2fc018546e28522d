# Shell completion: each tool prints its own (a hidden option). Like the manual
# pages the files are shipped ready-made, and made again when the sources change.
completion_file = $(AM_V_GEN)$(SHELL) $(top_srcdir)/completion/generate

#bashcompletiondir = $(datadir)/bash-completion/completions
#zshcompletiondir = $(datadir)/zsh/site-functions
#fishcompletiondir = $(datadir)/fish/vendor_completions.d
#dist_bashcompletion_DATA = %D%/bash/msend %D%/bash/mrecv %D%/bash/mrelay
#dist_zshcompletion_DATA = %D%/zsh/_msend %D%/zsh/_mrecv %D%/zsh/_mrelay
#dist_fishcompletion_DATA = %D%/fish/msend.fish %D%/fish/mrecv.fish %D%/fish/mrelay.fish
#
#msend_sources = $(bin_msend_SOURCES) $(lib_cli_libcli_la_SOURCES) %D%/generate
#mrecv_sources = $(bin_mrecv_SOURCES) $(lib_cli_libcli_la_SOURCES) %D%/generate
#mrelay_sources = $(bin_mrelay_SOURCES) $(lib_cli_libcli_la_SOURCES) %D%/generate
#
#%D%/bash/msend: $(msend_sources) | bin/msend$(EXEEXT)
#	$(completion_file) bin/msend$(EXEEXT) bash $@
#%D%/zsh/_msend: $(msend_sources) | bin/msend$(EXEEXT)
#	$(completion_file) bin/msend$(EXEEXT) zsh $@
#%D%/fish/msend.fish: $(msend_sources) | bin/msend$(EXEEXT)
#	$(completion_file) bin/msend$(EXEEXT) fish $@
#%D%/bash/mrecv: $(mrecv_sources) | bin/mrecv$(EXEEXT)
#	$(completion_file) bin/mrecv$(EXEEXT) bash $@
#%D%/zsh/_mrecv: $(mrecv_sources) | bin/mrecv$(EXEEXT)
#	$(completion_file) bin/mrecv$(EXEEXT) zsh $@
#%D%/fish/mrecv.fish: $(mrecv_sources) | bin/mrecv$(EXEEXT)
#	$(completion_file) bin/mrecv$(EXEEXT) fish $@
#%D%/bash/mrelay: $(mrelay_sources) | bin/mrelay$(EXEEXT)
#	$(completion_file) bin/mrelay$(EXEEXT) bash $@
#%D%/zsh/_mrelay: $(mrelay_sources) | bin/mrelay$(EXEEXT)
#	$(completion_file) bin/mrelay$(EXEEXT) zsh $@
#%D%/fish/mrelay.fish: $(mrelay_sources) | bin/mrelay$(EXEEXT)
#	$(completion_file) bin/mrelay$(EXEEXT) fish $@
EXTRA_DIST += %D%/generate
