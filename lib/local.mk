# The installed library: message, transport and client as one shared object, of
# which only the symbols mp_… can be seen.
#
# version-info is current:revision:age, libtool's terms: code changed,
# revision + 1; symbols added, current + 1, revision 0, age + 1; symbols changed
# or removed, current + 1, revision 0, age 0.
libmsgpipe_la_SOURCES =
libmsgpipe_la_LDFLAGS = $(BUILD_LDFLAGS) -version-info 0:0:0 -export-symbols-regex '^mp_'
libmsgpipe_la_LIBADD = $(CLIENT_LIBS)
lib_LTLIBRARIES += libmsgpipe.la
include_HEADERS += %D%/msgpipe.h
