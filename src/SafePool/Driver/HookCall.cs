namespace SafePool.Driver;

/// <summary>One run of a user's hook, for as long as it lasts.</summary>
/// <param name="name">The hook's option.</param>
/// <param name="begunAt">A timestamp of the pool's clock.</param>
/// <param name="token">What the hook was given: once it is cancelled nobody waits for the hook any more.</param>
internal sealed class HookCall(string name, long begunAt, CancellationToken token)
{
    private int _rents;

    public string Name => name;

    public long BegunAt => begunAt;

    /// <summary>Whether a place that has a connection waits for it; an open does otherwise.</summary>
    public bool KeepsPlace => name != nameof(ConnectionPoolOptions.PhysicalConnectionOpened);

    public bool IsAwaited => !token.IsCancellationRequested;

    /// <summary>Whether a rent that was made within it waits for a lease of the same pool.</summary>
    public bool IsRenting => Volatile.Read(ref _rents) > 0;

    public void NoteRent(int change) => Interlocked.Add(ref _rents, change);
}
