// What the device's compiler needs and the emulation brings itself.
#define NOCTURNE_CHECK_ALIGNED(pointer, size)
#define NOCTURNE_REGISTER(name, Arguments, bounds)
#define NOCTURNE_INFINITY __int_as_float(0x7f800000)
