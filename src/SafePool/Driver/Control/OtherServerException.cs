namespace SafePool.Driver.Control;

/// <summary>Under a name at which the pool has sessions only such servers answered as it has none on.</summary>
internal sealed class OtherServerException(int attempts)
    : Exception($"Another server answered than the one on which the pool has its sessions, {attempts} times. Its address leads to several servers, or to another one than before: then Clear() replaces the connections.");
