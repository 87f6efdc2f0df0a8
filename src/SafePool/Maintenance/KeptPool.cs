using System.Runtime.InteropServices;

namespace SafePool.Maintenance;

/// <summary>Keeps a pool from the collector while somebody awaits it, who may be all that refers to it.</summary>
internal sealed class KeptPool(PoolParts parts) : IDisposable
{
    private GCHandle _handle = GCHandle.Alloc(parts);

    public void Dispose() => _handle.Free();
}
