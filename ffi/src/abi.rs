/// Major number of the ABI: the number in the library's SONAME. While it is 0, any release may change the ABI; from 1
/// on, a program built against one library runs with every later one of the same number.
/// Since: 0
pub const GS_ABI_VERSION: u32 = 0;
