# lib/store: SQLite.
#
# A line for each file, headers too (they go into the tarball from here), each
# ended by a backslash; the list ends with $(empty):
#	%D%/name.c %D%/name.h
noinst_LTLIBRARIES += %D%/libstore.la
%C%_libstore_la_SOURCES = \
	%D%/private.h \
	%D%/wal.h %D%/store_wal.c \
	%D%/salvage.h %D%/salvage_private.h \
	%D%/salvage_pages.c \
	%D%/salvage_cells.c \
	%D%/salvage_scan.c \
	%D%/salvage_rows.c \
	%D%/store.c %D%/store.h \
	%D%/store_backup.c \
	%D%/store_delete.c \
	%D%/store_digest.c \
	%D%/store_events.c \
	%D%/store_file.c \
	%D%/store_frames.c \
	%D%/store_hashes.c \
	%D%/store_hold.c \
	%D%/store_reader.c \
	%D%/store_row.c \
	%D%/store_rows.c \
	%D%/store_schedule.c \
	%D%/store_schema.c \
	%D%/store_select.c \
	%D%/store_statements.c \
	$(empty)
