# The demonstration, `./bootstrap demo`.
EXTRA_DIST += %D%/demo %D%/weblog
