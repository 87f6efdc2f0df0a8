using System.Data.Common;

namespace SafePool;

/// <summary>A rent, or a question to the server, that the pool could not serve. The message says why, with the numbers of the moment.</summary>
/// <remarks>Never transient: a retry strategy that repeats it would only lengthen the queue.</remarks>
public abstract class PoolException : DbException
{
    private protected PoolException(string message, PoolSnapshot snapshot, Exception? innerException = null)
        : base(message, innerException)
        => Snapshot = snapshot;

    /// <summary>Gets the name of the pool.</summary>
    public string PoolName => Snapshot.Name;

    /// <summary>Gets the pool as it was when it failed.</summary>
    public PoolSnapshot Snapshot { get; }

    /// <summary>Gets <see langword="false"/>.</summary>
    public sealed override bool IsTransient => false;
}
