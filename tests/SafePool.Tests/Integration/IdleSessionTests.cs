using SafePool.TestKit;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>What a lease has left on its session is gone soon after the return, also when nobody uses the connection again.</summary>
public sealed class IdleSessionTests
{
    private static readonly TimeSpan _soon = TimeSpan.FromSeconds(3);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    [Trait("Conformance", "41")]
    public async Task Return_OfALeaseThatHoldsAnAdvisoryLock_FreesItWithinThreeSeconds(SessionReset reset)
    {
        await using var server = await CreateAsync(reset);
        int session;
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            session = lease.Session();
            await lease.DoAsync($"SELECT pg_advisory_lock({session})");
        }

        await Eventually.True(() => CanLockAsync(server, session), "the advisory lock of the returned lease is free", _soon);
        Assert.Equal([session], await server.SessionsAsync());
    }

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    public async Task Close_OfADropInConnectionThatHoldsAnAdvisoryLock_FreesItWithinThreeSeconds(SessionReset reset)
    {
        await using var server = await CreateAsync(reset);
        int session;
        await using (var connection = await server.Pool.OpenConnectionAsync(Cancellation))
        {
            session = connection.ProcessID;
            await connection.AskAsync<object>($"SELECT pg_advisory_lock({session})");
        }

        await Eventually.True(() => CanLockAsync(server, session), "the advisory lock of the closed connection is free", _soon);
        Assert.Equal([session], await server.SessionsAsync());
    }

    [Fact]
    public async Task Return_OfALeaseWithATemporaryTable_DropsItWithinThreeSeconds()
    {
        await using var server = await CreateAsync(SessionReset.Full);
        var table = $"litter_{Guid.NewGuid():N}";
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await lease.DoAsync($"CREATE TEMP TABLE {table} (id int)");
            Assert.Equal(1L, await CountTablesAsync(server, table));
        }

        await Eventually.True(async () => await CountTablesAsync(server, table) == 0, "the temporary table of the returned lease is gone", _soon);
    }

    /// <summary>A listener that lags behind keeps the server's queue of notifications from shrinking; one that is gone does not.</summary>
    [Fact]
    public async Task Return_OfALeaseThatListens_StopsListeningWithinThreeSeconds()
    {
        await using var server = await CreateAsync(SessionReset.Full);
        var channel = $"litter_{Guid.NewGuid():N}";
        await using var lease = await server.Pool.RentAsync(Cancellation);
        await lease.DoAsync($"LISTEN {channel}");
        var session = lease.Session();

        await lease.DisposeAsync();

        // The server does not tell who listens to what; but the flush was sent, and took UNLISTEN along as part of DISCARD ALL.
        await Eventually.True(async () => !(await server.QueriesAsync())[0].StartsWith("LISTEN", StringComparison.Ordinal), "the reset has been sent", _soon);
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(session, next.Session());
        Assert.Equal(0L, await next.AskAsync<long>("SELECT count(*) FROM pg_listening_channels()"));
    }

    [Fact]
    public async Task IdleSession_OnceItIsClean_HearsNothingMore()
    {
        await using var server = await CreateAsync(SessionReset.Full);
        await server.Pool.FillAsync(3, Cancellation);
        await Eventually.True(async () => (await server.QueriesAsync()).All(query => !query.Contains("pg_backend_pid", StringComparison.Ordinal) && !query.Contains("pg_is_in_recovery", StringComparison.Ordinal)), "all have been flushed");
        await server.WatchingAsync();
        var queryStarts = await server.QueryStartsAsync();

        // Ten ticks and more, and twice as long as a reset may wait.
        await Task.Delay(TimeSpan.FromSeconds(2.5), TimeProvider.System, Cancellation);

        Assert.Equal(3, queryStarts.Length);
        Assert.Equal(queryStarts, await server.QueryStartsAsync());
    }

    private static async Task<bool> CanLockAsync(PoolOnServer server, int key)
        => await server.AskAsync<bool>($"SELECT pg_try_advisory_lock({key})");

    private static Task<long> CountTablesAsync(PoolOnServer server, string table)
        => server.AskAsync<long>($"SELECT count(*) FROM pg_class WHERE relname = '{table}'");

    private static Task<PoolOnServer> CreateAsync(SessionReset reset)
        => PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (4, reset));
}
