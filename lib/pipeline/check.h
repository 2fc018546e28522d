/*
 * check.h: what a pipeline says as a whole, after each of its parts was read.
 */
#ifndef PIPELINE_CHECK_H
#define PIPELINE_CHECK_H

#include "pipeline/load.h"

/* Topics that are named and not declared: an error, or (strict: false) made known. */
void check_topics(struct load *load);

/* Names that stand twice, stages that nobody feeds, outputs that nobody takes, cycles. */
void check_graph(struct load *load);

/* Whether commands are there and can be run. */
void check_commands(struct load *load);

/* Addresses that clash, or that are open to others. */
void check_addresses(struct load *load);

/* What steps refuse themselves, in a pipeline in which nothing else is wrong. */
void check_steps(struct load *load);

/* Tests that name what is not there. */
void check_tests(struct load *load);

#endif
