using System.Runtime.CompilerServices;
using Npgsql;

namespace SafePool;

/// <summary>What users of a <see cref="ConnectionPool"/> see of it, for their own tests.</summary>
public interface IConnectionPool : IAsyncDisposable, IDisposable
{
    /// <inheritdoc cref="ConnectionPool.Name"/>
    string Name { get; }

    /// <inheritdoc cref="ConnectionPool.RentAsync(CancellationToken, string, string, int)"/>
    [OverloadResolutionPriority(1)]
    ValueTask<Lease> RentAsync(
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <inheritdoc cref="ConnectionPool.RentAsync(RentOptions, CancellationToken, string, string, int)"/>
    ValueTask<Lease> RentAsync(
        RentOptions options,
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <inheritdoc cref="ConnectionPool.Rent"/>
    Lease Rent(
        RentOptions? options = null,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <inheritdoc cref="ConnectionPool.TryRent"/>
    bool TryRent(
        out Lease lease,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <inheritdoc cref="ConnectionPool.OpenConnectionAsync"/>
    ValueTask<NpgsqlConnection> OpenConnectionAsync(
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <inheritdoc cref="ConnectionPool.OpenConnection"/>
    NpgsqlConnection OpenConnection(
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <inheritdoc cref="ConnectionPool.GetSnapshot"/>
    PoolSnapshot GetSnapshot();

    /// <inheritdoc cref="ConnectionPool.WarmUpAsync"/>
    Task WarmUpAsync(CancellationToken cancellationToken = default);

    /// <inheritdoc cref="ConnectionPool.Clear"/>
    void Clear();

    /// <inheritdoc cref="ConnectionPool.DrainAsync"/>
    Task<DrainReport> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken = default);
}
