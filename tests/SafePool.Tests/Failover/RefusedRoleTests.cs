using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failover;

/// <summary>A role that may not ask for the server's role by function still gets the host that it asked for.</summary>
public sealed class RefusedRoleTests : IAsyncLifetime
{
    private const string RunsOn = "SHOW port";

    private ReplicatedPair _pair = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);
        var primary = new Outside(_pair.Primary.ConnectionString);
        await primary.DoAsync("CREATE ROLE plain LOGIN");
        await primary.DoAsync("CREATE ROLE plain_reader LOGIN");
        await primary.DoAsync("ALTER ROLE plain_reader SET default_transaction_read_only = on");
    }

    public ValueTask DisposeAsync() => _pair.DisposeAsync();

    [Theory]
    [InlineData("pg_is_in_recovery()", false)]
    [InlineData("pg_is_in_recovery()", true)]
    [InlineData("pg_is_in_recovery(), current_setting(text), current_setting(text, boolean)", false)]
    [InlineData("pg_is_in_recovery(), pg_backend_pid()", false)]
    public async Task RentAsync_TheFunctionIsRevoked_ServesFromTheHostOfThatRole(string functions, bool blocking)
    {
        await RevokeAsync(functions);
        var hosts = $"127.0.0.1:{_pair.Primary.Port},127.0.0.1:{_pair.Standby.Port}";
        foreach (var (target, server) in new[]
        {
            ("primary", _pair.Primary), ("read-write", _pair.Primary), ("standby", _pair.Standby), ("read-only", _pair.Standby),
            ("prefer-standby", _pair.Standby), ("prefer-primary", _pair.Primary),
        })
        {
            await using var pool = Pool(hosts, target, "plain");
            Assert.Equal(server.Port, await AskAsync(pool, blocking));
            await using var single = Pool($"127.0.0.1:{server.Port}", target, "plain");
            Assert.Equal(server.Port, await AskAsync(single, blocking));
        }

        await using var wrong = Pool($"127.0.0.1:{_pair.Standby.Port}", "primary", "plain");
        var failure = await Record.ExceptionAsync(() => AskAsync(wrong, blocking));
        Assert.Contains("a standby", failure!.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task RentAsync_TheFunctionIsRevoked_ReadOnlySessionsAreToldFromThoseThatWrite()
    {
        await RevokeAsync("pg_is_in_recovery()");
        var primary = $"127.0.0.1:{_pair.Primary.Port}";
        foreach (var target in new[] { "primary", "read-only" })
        {
            await using var pool = Pool(primary, target, "plain_reader");
            Assert.Equal(_pair.Primary.Port, await AskAsync(pool, blocking: false));
        }

        await using var writing = Pool(primary, "read-write", "plain_reader");
        Assert.Contains("a read-only primary", (await Record.ExceptionAsync(() => AskAsync(writing, blocking: false)))!.ToString(), StringComparison.Ordinal);

        await using var standby = Pool($"{primary},127.0.0.1:{_pair.Standby.Port}", "standby", "plain_reader");
        Assert.Equal(_pair.Standby.Port, await AskAsync(standby, blocking: false));
    }

    /// <summary>Idle sessions are asked again, and a new one beside the pool.</summary>
    [Fact]
    public async Task RentAsync_TheFunctionIsRevoked_APromotionIsNoticed()
    {
        await RevokeAsync("pg_is_in_recovery()");
        await using var pool = Pool($"127.0.0.1:{_pair.Primary.Port},127.0.0.1:{_pair.Standby.Port}", "prefer-standby", "plain");
        Assert.Equal(_pair.Standby.Port, await AskAsync(pool, blocking: false));
        await using var primary = Pool($"127.0.0.1:{_pair.Standby.Port},127.0.0.1:{_pair.Primary.Port}", "primary", "plain");
        Assert.Equal(_pair.Primary.Port, await AskAsync(primary, blocking: false));

        await _pair.Primary.StopAsync(StopMode.Immediate);
        await _pair.Standby.PromoteAsync(Cancellation);

        await Eventually.True(async () => await Record.ExceptionAsync(() => AskAsync(primary, blocking: false)) is null, "the new primary serves", TimeSpan.FromSeconds(20));
        Assert.Equal(_pair.Standby.Port, await AskAsync(primary, blocking: false));
    }

    private static async Task<int> AskAsync(ConnectionPool pool, bool blocking)
    {
        if (blocking)
        {
            using var held = pool.Rent();
            return int.Parse(held.Ask<string>(RunsOn), System.Globalization.CultureInfo.InvariantCulture);
        }

        await using var lease = await pool.RentAsync(Cancellation);
        return int.Parse(await lease.AskAsync<string>(RunsOn), System.Globalization.CultureInfo.InvariantCulture);
    }

    private static ConnectionPool Pool(string hosts, string target, string user) => new(new ConnectionPoolOptions
    {
        ConnectionString = $"Host={hosts};Username={user};Database=postgres;Target Session Attributes={target}",
        MaxSize = 2,
        AcquireTimeout = TimeSpan.FromSeconds(4),
    });

    private async Task RevokeAsync(string functions)
    {
        await new Outside(_pair.Primary.ConnectionString).DoAsync($"REVOKE EXECUTE ON FUNCTION {functions} FROM PUBLIC");
        await _pair.CatchUpAsync();
    }
}
