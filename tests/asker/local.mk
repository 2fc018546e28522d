# Administrative requests as they stand on stdin, for tests of what no tool asks.
check_PROGRAMS += %D%/asker
%C%_asker_SOURCES = %D%/asker.c
%C%_asker_LDADD = $(CLIENT_LIBS) $(EVENT_LIBS)
