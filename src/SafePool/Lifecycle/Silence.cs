using SafePool.Driver;
using SafePool.Driver.Hosts;

namespace SafePool.Lifecycle;

/// <summary>A connection over which the server did not answer in time.</summary>
/// <param name="Connection">Which; null when it is not known.</param>
/// <param name="Host">Where it leads, where there are several; null otherwise.</param>
/// <param name="Generation">Of the connection.</param>
/// <param name="Since">When it was asked, as a timestamp of the pool's clock.</param>
internal readonly record struct Silence(PhysicalConnection? Connection, ServerDataSource? Host, int Generation, long Since);
