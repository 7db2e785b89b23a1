int m(void){return 1;}
