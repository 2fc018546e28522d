# Macros of msgpipe's configure.ac.

# MSGPIPE_CC_FLAGS(VARIABLE, FLAGS)
# Adds to VARIABLE each of FLAGS that the C compiler takes without a warning.
AC_DEFUN([MSGPIPE_CC_FLAGS], [
  for msgpipe_flag in $2; do
    AS_VAR_PUSHDEF([msgpipe_cache], [msgpipe_cv_cc_$msgpipe_flag])
    AC_CACHE_CHECK([whether $CC accepts $msgpipe_flag], [msgpipe_cache], [
      msgpipe_save=$CFLAGS
      CFLAGS="$CFLAGS -Werror $msgpipe_flag"
      AC_COMPILE_IFELSE([AC_LANG_PROGRAM()],
        [AS_VAR_SET([msgpipe_cache], [yes])], [AS_VAR_SET([msgpipe_cache], [no])])
      CFLAGS=$msgpipe_save])
    AS_VAR_IF([msgpipe_cache], [yes], [AS_VAR_APPEND([$1], [" $msgpipe_flag"])])
    AS_VAR_POPDEF([msgpipe_cache])
  done
])

# MSGPIPE_LD_FLAGS(VARIABLE, FLAGS)
# Adds to VARIABLE each of FLAGS with which a program links.
AC_DEFUN([MSGPIPE_LD_FLAGS], [
  for msgpipe_flag in $2; do
    AS_VAR_PUSHDEF([msgpipe_cache], [msgpipe_cv_ld_$msgpipe_flag])
    AC_CACHE_CHECK([whether the linker accepts $msgpipe_flag], [msgpipe_cache], [
      msgpipe_save=$CFLAGS
      CFLAGS="$CFLAGS -Werror $hardening_pie $msgpipe_flag"
      AC_LINK_IFELSE([AC_LANG_PROGRAM()],
        [AS_VAR_SET([msgpipe_cache], [yes])], [AS_VAR_SET([msgpipe_cache], [no])])
      CFLAGS=$msgpipe_save])
    AS_VAR_IF([msgpipe_cache], [yes], [AS_VAR_APPEND([$1], [" $msgpipe_flag"])])
    AS_VAR_POPDEF([msgpipe_cache])
  done
])

# MSGPIPE_MISSING(WHAT, DEBIAN, FEDORA, HOMEBREW)
# Notes a missing package; MSGPIPE_REQUIRE_ALL stops with the whole list, so
# that nobody has to run configure once for each of them.
AC_DEFUN([MSGPIPE_MISSING], [
  AS_VAR_APPEND([msgpipe_missing], ["
    $1
        Debian: $2   Fedora: $3   Homebrew: $4"])
])

AC_DEFUN([MSGPIPE_REQUIRE_ALL], [
  AS_IF([test -n "$msgpipe_missing"], [
    AC_MSG_ERROR([these packages are needed and were not found:
$msgpipe_missing

On Debian, ./bootstrap installs them.])])
])

# MSGPIPE_PKG(VARIABLE, MODULES, WHAT, DEBIAN, FEDORA, HOMEBREW)
AC_DEFUN([MSGPIPE_PKG], [
  PKG_CHECK_MODULES([$1], [$2], [:], [MSGPIPE_MISSING([$3], [$4], [$5], [$6])])
])
