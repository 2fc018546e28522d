# What is installed for those who test with Bats.
batslibdir = $(pkgdatadir)/bats
dist_batslib_DATA = %D%/load.bash
