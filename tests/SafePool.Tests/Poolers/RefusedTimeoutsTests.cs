using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Poolers;

/// <summary>Timeouts that every lease sets, where functions are revoked that other ways of setting them would need.</summary>
public sealed class RefusedTimeoutsTests(QuietServer quiet) : IClassFixture<QuietServer>
{
    private const string Show = "SHOW statement_timeout";
    private const string SetConfig = "set_config(text, text, boolean)";
    private const string ProcessId = "pg_backend_pid()";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(SetConfig, false)]
    [InlineData(SetConfig, true)]
    [InlineData(ProcessId, false)]
    public async Task RentAsync_PerLeaseDirectly_SetsThemWithoutAFunction(string function, bool blocking)
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.Timeouts, options.StatementTimeout, options.LockTimeout)
                = (2, TimeoutStrategy.PerLease, TimeSpan.FromSeconds(7), TimeSpan.FromSeconds(3)),
            own.Use,
            server: quiet.ConnectionString);
        await pool.UseAsync(Cancellation);
        await own.RevokeAsync($"EXECUTE ON FUNCTION {function}");

        for (var round = 0; round < 3; round++)
        {
            await using var lease = blocking ? pool.Pool.Rent() : await pool.Pool.RentAsync(Cancellation);
            await using var opened = await pool.Pool.RentAsync(new RentOptions { StatementTimeout = TimeSpan.FromMilliseconds(777) }, Cancellation);
            Assert.Equal("7s", await lease.AskAsync<string>(Show));
            Assert.Equal("3s", await lease.AskAsync<string>("SHOW lock_timeout"));
            Assert.Equal("777ms", await opened.AskAsync<string>(Show));
            Assert.Equal("3s", await opened.AskAsync<string>("SHOW lock_timeout"));
        }
    }

    [Theory]
    [InlineData(SetConfig, TimeoutStrategy.Auto)]
    [InlineData(SetConfig, TimeoutStrategy.PerLease)]
    [InlineData(ProcessId, TimeoutStrategy.Auto)]
    public async Task RentAsync_BehindASessionPooler_ServesAndSetsThemInTransactions(string function, TimeoutStrategy strategy)
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);
        await gateway.Server.DoAsync("CREATE ROLE cured LOGIN");
        await using var pool = await gateway.PoolAsync(
            options => (options.MaxSize, options.Timeouts, options.StatementTimeout) = (2, strategy, TimeSpan.FromSeconds(7)), text => text.Username = "cured");
        await pool.UseAsync(Cancellation);
        await gateway.Server.DoAsync($"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC");

        for (var round = 0; round < 3; round++)
        {
            await using var lease = await pool.Pool.RentAsync(Cancellation);
            await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
            Assert.Equal("7s", await lease.AskAsync<string>(Show));
        }

        Assert.Single(pool.Logs.Entries, entry => entry.EventId.Id == 140 && entry.Message.Contains("lease.BeginTransaction", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task BeginTransaction_BehindATransactionPooler_SetsThemWithoutAFunction(bool blocking)
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Transaction);
        await gateway.Server.DoAsync("CREATE ROLE cured LOGIN");
        await gateway.Server.DoAsync($"REVOKE EXECUTE ON FUNCTION {SetConfig} FROM PUBLIC");
        await using var pool = await gateway.PoolAsync(
            options => (options.MaxSize, options.StatementTimeout, options.LockTimeout) = (2, TimeSpan.FromSeconds(7), TimeSpan.FromSeconds(3)), text => text.Username = "cured");

        await using var lease = await pool.Pool.RentAsync(Cancellation);
        await using (var transaction = blocking ? lease.BeginTransaction() : await lease.BeginTransactionAsync(cancellationToken: Cancellation))
        {
            Assert.Equal("7s", await lease.AskAsync<string>(Show));
            Assert.Equal("3s", await lease.AskAsync<string>("SHOW lock_timeout"));
        }

        Assert.Equal("0", await lease.AskAsync<string>(Show));
    }
}
