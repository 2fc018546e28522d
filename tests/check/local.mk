# Checks of the tree itself, run with the tests.
tree_checks = \
	%D%/hardening.sh \
	%D%/headers.sh \
	%D%/layers.sh \
	%D%/links.sh \
	%D%/lists.sh

TESTS += $(tree_checks)
EXTRA_DIST += $(tree_checks) %D%/tap.sh
