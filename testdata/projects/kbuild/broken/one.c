int one(void) { return undeclared; }
