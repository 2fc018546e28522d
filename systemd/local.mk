# The unit of the machine's relay (`-r system`).
if HAVE_SYSTEMD
systemdsystemunit_DATA = %D%/mrelay.service
endif
%D%/mrelay.service: %D%/mrelay.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) %D% && sed 's|@bindir[@]|$(bindir)|g' $(srcdir)/%D%/mrelay.service.in >$@.new && mv $@.new $@
CLEANFILES += %D%/mrelay.service
EXTRA_DIST += %D%/mrelay.service.in
