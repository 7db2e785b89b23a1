/* Two objects of one name meet in one archive. */
int net_ready(int argument) { return 3; }
