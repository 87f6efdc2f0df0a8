using System.Data.Common;
using Npgsql;
using SafePool.Driver.Poolers;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Poolers;

/// <summary>What a caller is told when a real pooler refuses.</summary>
public sealed class PoolerRefusalTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task RentAsync_MoreClientsThanThePoolerAllows_WaitsAsForAFullServer()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session, configure: options => options.Settings["max_client_conn"] = "1");
        await using var stranger = await gateway.StrangerAsync();
        await using var pool = await gateway.PoolAsync(options => options.AcquireTimeout = TimeSpan.FromMilliseconds(400));

        var refused = await Assert.ThrowsAsync<ConnectTimeoutException>(async () => await pool.Pool.RentAsync(Cancellation));

        Assert.Equal(PoolerErrorKind.Full, PoolerErrors.KindOf(refused.Snapshot!.LastConnectError!));
        Assert.Contains("max_client_conn", refused.Snapshot.LastConnectError!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RentAsync_NoServerConnectionComesFree_TellsOfTheWait()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session, configure: options =>
        {
            options.Settings["query_wait_timeout"] = "1";
            options.Settings["default_pool_size"] = "1";
        });
        await using var stranger = await gateway.StrangerAsync();
        await using var command = new NpgsqlCommand("SELECT 1", stranger);
        await command.ExecuteNonQueryAsync(Cancellation);

        await RefusedAsync(gateway, PoolerErrorKind.NoServerInTime, "query_wait_timeout", "default_pool_size");
    }

    [Fact]
    public async Task RentAsync_PasswordIsWrong_NamesThePoolersUsers()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session, configure: options =>
        {
            options.Settings["auth_type"] = "md5";
            options.Users["postgres"] = "right";
        });

        await RefusedAsync(gateway, PoolerErrorKind.AuthenticationFailed, "authentication failed", "auth_file", text => text.Password = "wrong");
    }

    [Fact]
    public async Task RentAsync_UserIsUnknown_NamesThePoolersUsers()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);

        await RefusedAsync(gateway, PoolerErrorKind.AuthenticationFailed, "authentication failed", "auth_file", text => text.Username = "nobody");
    }

    [Fact]
    public async Task RentAsync_DatabaseIsUnknownOrDisabled_NamesTheDatabase()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session, configure: options =>
        {
            options.Databases.Clear();
            options.Databases["postgres"] = "";
        });

        await RefusedAsync(gateway, PoolerErrorKind.UnknownDatabase, "no such database: nope", "[databases]", text => text.Database = "nope");
        await gateway.Bouncer!.CommandAsync("DISABLE postgres", Cancellation);
        await RefusedAsync(gateway, PoolerErrorKind.Disabled, "is disabled", "ENABLE");
    }

    [Theory]
    [InlineData("dbname=missing", "database \"missing\" does not exist")]
    [InlineData("user=missing", "role \"missing\" does not exist")]
    public async Task RentAsync_ServerRefusesThePooler_BlamesThePoolersConfiguration(string database, string said)
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session, configure: options => options.Databases["*"] = database);

        await RefusedAsync(gateway, PoolerErrorKind.ServerLoginRefused, said, "configuration");
    }

    [Fact]
    public async Task RentAsync_ParameterOfTheConnectionStringIsRefused_NamesItAndTheCure()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);

        await RefusedAsync(gateway, PoolerErrorKind.StartupParameterRefused, "search_path", "ALTER ROLE", text => text.SearchPath = "pg_catalog");
        await RefusedAsync(gateway, PoolerErrorKind.StartupParameterRefused, "options", "ALTER ROLE", text => text.Options = "-c work_mem=5MB");
    }

    [Fact]
    public async Task RentAsync_PgpoolCannotReachTheServer_TellsOfTheServer()
    {
        await using var gateway = await Gateway.PgpoolAsync();
        await gateway.StopServerAsync();

        await RefusedAsync(gateway, PoolerErrorKind.ServerLost, "failed to create a backend connection", "pcp_attach_node");
    }

    private static async Task RefusedAsync(
        Gateway gateway, PoolerErrorKind kind, string said, string cure, Action<NpgsqlConnectionStringBuilder>? text = null)
    {
        await using var pool = await gateway.PoolAsync(options => options.Breaker.TripAfter = TimeSpan.FromSeconds(0.5), text: text);

        var thrown = await Assert.ThrowsAnyAsync<DbException>(async () => await pool.Pool.RentAsync(Cancellation));

        // What waiting cures is ridden through for as long as that may be, and then told.
        var refused = Assert.IsType<NpgsqlException>(thrown is CircuitOpenException ? thrown.InnerException : thrown);
        Assert.Equal(thrown is CircuitOpenException, PoolerErrors.IsCurable(refused));
        Assert.Equal(kind, PoolerErrors.KindOf(refused));
        Assert.Contains(said, refused.Message, StringComparison.Ordinal);
        Assert.Contains(cure, refused.Message, StringComparison.Ordinal);
        Assert.IsType<PostgresException>(refused.InnerException);
        Assert.Equal((0, 0), (pool.Snapshot.Leased, pool.Snapshot.Idle));
    }
}
