recc g++ -O2 -I/sysroot/include -c src/main.cpp -o main.o
recc g++ -o app main.o /sysroot/lib/libvector_math.a /sysroot/lib/libmath_utils.a
mkdir -p "$DESTDIR/sysroot/bin"
cp app "$DESTDIR/sysroot/bin/"
