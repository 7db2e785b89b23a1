/* Two objects of one name meet in one archive. */
int disk_ready(int argument) { return 4; }
