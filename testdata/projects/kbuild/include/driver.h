#pragma once
struct driver { const char *name; int (*probe)(void); };
#define DRIVER(n, p) \
	static const struct driver this_driver __attribute__((used, section("drivers"))) = { n, p }
