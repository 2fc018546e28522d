# Checks of the tree itself, run with the tests.
tree_checks = \
	%D%/layers.sh \
	%D%/lists.sh

tree_checks += %D%/headers.sh
#tree_checks += %D%/links.sh

TESTS += $(tree_checks)
EXTRA_DIST += $(tree_checks) %D%/tap.sh
