using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Failures;

public sealed class RetireOnTests
{
    private const int Retired = 171;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("AP001")]
    [InlineData("25006")]
    [InlineData("XX001")]
    [InlineData("57P01")]
    public async Task Command_FailsWithAChosenState_EverySessionIsReplacedOnce(string sqlState)
    {
        await using var server = await CreateAsync(sqlState);
        await server.Pool.FillAsync(3, Cancellation);
        var sessions = await server.SessionsAsync();

        await FailAsync(server, sqlState);
        await server.Pool.FillAsync(3, Cancellation);

        await server.SessionsBecomeAsync(3);
        Assert.Empty(sessions.Intersect(await server.SessionsAsync()));
        var line = await server.Logs.WaitForAsync(entry => entry.EventId.Id == Retired);
        Assert.Equal(1, server.Logged(Retired));
        Assert.Contains(sqlState, line.Message, StringComparison.Ordinal);
        Assert.Contains("RetireOn", line.Message, StringComparison.Ordinal);
    }

    /// <summary>Each host has a data source with a name of its own, and all are this pool's.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Command_FailsAtOneOfSeveralHosts_IsHeardOf(int host)
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => options.RetireOn.Add("AP001"),
            text => text.Host = (host == 0 ? "127.0.0.1:{0},127.0.0.1:1" : "127.0.0.1:1,127.0.0.1:{0}").Replace("{0}", $"{text.Port}", StringComparison.Ordinal));
        await server.Pool.FillAsync(3, Cancellation);
        var sessions = await server.SessionsAsync();

        await FailAsync(server, "AP001");
        await server.Pool.FillAsync(3, Cancellation);

        await server.SessionsBecomeAsync(3);
        Assert.Empty(sessions.Intersect(await server.SessionsAsync()));
    }

    [Fact]
    public async Task Command_FailsWithAnotherState_RetiresNothing()
    {
        await using var server = await CreateAsync("AP001");
        await server.Pool.FillAsync(3, Cancellation);
        var sessions = await server.SessionsAsync();

        await FailAsync(server, "AP002");
        await server.Pool.FillAsync(3, Cancellation);

        Assert.Equal(sessions, await server.SessionsAsync());
    }

    /// <summary>A query that always fails must not make the pool open connections for ever.</summary>
    [Fact]
    public async Task Command_AlwaysFails_RetiresSeldomerAndSeldomer()
    {
        await using var server = await CreateAsync("AP001");
        var begun = TimeProvider.System.GetTimestamp();
        while (TimeProvider.System.GetElapsedTime(begun) < TimeSpan.FromSeconds(3.5))
        {
            await FailAsync(server, "AP001");
        }

        // At once, after one second, and two seconds after that.
        Assert.InRange(server.Logged(Retired), 2, 3);
    }

    /// <summary>A lease that was out when its generation was retired fails later: that is no news about those that came after.</summary>
    [Fact]
    public async Task Command_OfALeaseFromBefore_DoesNotRetireWhatCameAfter()
    {
        await using var server = await CreateAsync("AP001");
        await using var old = await server.Pool.RentAsync(Cancellation);
        await FailAsync(server, "AP001");
        await server.Pool.FillAsync(2, Cancellation);
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.2), Cancellation);
        var sessions = (await server.SessionsAsync()).Except([old.Session()]);

        await Assert.ThrowsAsync<PostgresException>(() => old.DoAsync(Raise("AP001")));
        await old.DisposeAsync();
        await server.Pool.FillAsync(2, Cancellation);

        Assert.Empty(sessions.Except(await server.SessionsAsync()));
        Assert.Equal(1, server.Logged(Retired));
    }

    [Fact]
    public async Task Reconfigure_RetireOn_HoldsFromThenOn()
    {
        await using var server = await CreateAsync("AP001");
        var result = server.Pool.Reconfigure(options =>
        {
            options.RetireOn.Clear();
            options.RetireOn.Add("AP002");
        });
        await FailAsync(server, "AP001");
        await FailAsync(server, "AP002");

        Assert.Equal(["RetireOn"], result.Applied);
        var line = await server.Logs.WaitForAsync(entry => entry.EventId.Id == Retired);
        Assert.Contains("AP002", line.Message, StringComparison.Ordinal);
    }

    private static Task<PoolOnServer> CreateAsync(string sqlState)
        => PoolOnServer.CreateAsync(options =>
        {
            (options.MaxSize, options.WatchServer) = (5, false);
            options.RetireOn.Add(sqlState);
        });

    private static string Raise(string sqlState) => $"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{sqlState}'; END $$";

    private static async Task FailAsync(PoolOnServer server, string sqlState)
    {
        await using var lease = await server.Pool.RentAsync(Cancellation);
        var error = await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync(Raise(sqlState)));
        Assert.Equal(sqlState, error.SqlState);
    }
}
