using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class PostgresServerTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task StartAsync_WithSettings_AppliesThem()
    {
        await using var server = await StartAsync(("max_connections", "17"), ("application_name", @"it's a \ test"));

        Assert.Equal("17", await ShowAsync(server, "max_connections"));
        Assert.Equal(@"it's a \ test", await ShowAsync(server, "application_name"));
        Assert.Equal("off", await ShowAsync(server, "fsync"));
        Assert.True(server.Version.Major >= 10);
    }

    [Fact]
    public async Task StartAsync_WithASettingTheServerRefuses_ThrowsWithTheServersLog()
    {
        var fault = await Assert.ThrowsAsync<InvalidOperationException>(() => StartAsync(("max_connections", "many")));

        Assert.Contains("invalid value for parameter \"max_connections\": \"many\"", fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(StopMode.Fast)]
    [InlineData(StopMode.Immediate)]
    [InlineData(StopMode.Kill)]
    public async Task RestartAsync_InAnyMode_KeepsPortAndCommittedData(StopMode mode)
    {
        await using var server = await StartAsync();
        await QueryAsync(server, "create table kept as select 42 as answer");
        await QueryAsync(server, "checkpoint");
        var (port, postmaster) = (server.Port, server.PostmasterId);

        await server.StopAsync(mode);
        await Assert.ThrowsAsync<NpgsqlException>(() => ShowAsync(server, "port"));
        await server.StartAgainAsync(Cancellation);

        Assert.Equal(port, server.Port);
        Assert.NotEqual(postmaster, server.PostmasterId);
        Assert.Equal(42, await QueryAsync(server, "select answer from kept"));
    }

    [Fact]
    public async Task DisposeAsync_OfARunningServer_LeavesNeitherProcessNorFiles()
    {
        var server = await StartAsync();
        var data = (string)(await ShowAsync(server, "data_directory"))!;
        var postmaster = new ProcessIdentity(server.PostmasterId, null);
        Assert.True(postmaster.IsAlive);

        await server.DisposeAsync();

        Assert.False(postmaster.IsAlive);
        Assert.False(Directory.Exists(data));
    }

    private static Task<PostgresServer> StartAsync(params (string Name, string Value)[] settings)
        => PostgresServer.StartAsync(
            options =>
            {
                foreach (var (name, value) in settings)
                {
                    options.Settings[name] = value;
                }
            },
            Cancellation);

    private static Task<object?> ShowAsync(PostgresServer server, string setting) => QueryAsync(server, $"show {setting}");

    private static async Task<object?> QueryAsync(PostgresServer server, string sql)
    {
        await using var connection = new NpgsqlConnection($"{server.ConnectionString};Pooling=false");
        await connection.OpenAsync(Cancellation);
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync(Cancellation);
    }
}
