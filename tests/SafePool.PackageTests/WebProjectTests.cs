using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.PackageTests;

/// <summary>A new web project that has nothing but the packages: it restores, builds with trimming and without a warning, serves from a server, and leaves nothing there.</summary>
public sealed class WebProjectTests(Feed feed)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WebProject_Trimmed_Works()
    {
        await using var database = await TestDatabase.AcquireAsync(Cancellation);
        var consumer = await feed.CreateConsumerAsync("Web");
        await consumer.PublishAsync();

        await using var web = await WebProgram.StartAsync(consumer.Program("--urls", "http://127.0.0.1:0", "--Pool:ConnectionString", database.ConnectionString, "--Pool:MaxSize", "2", "--Pool:Leaks:Threshold", "00:00:20"));
        using var client = new HttpClient { BaseAddress = web.Address };

        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => client.GetStringAsync("/answer", Cancellation)));
        Assert.All(answers, answer => Assert.Equal("42", answer));
        Assert.Equal("web: 20 rents, 0 leased", await client.GetStringAsync("/pool", Cancellation));
        Assert.Equal("Healthy", await client.GetStringAsync("/health/ready", Cancellation));
        Assert.Equal(0, await web.StopAsync());
        await Eventually.True(async () => await SessionsAsync(database.ConnectionString) == 0, "its pool has closed what it had");
    }

    private static async Task<long> SessionsAsync(string server)
    {
        await using var connection = new NpgsqlConnection(server);
        await connection.OpenAsync(Cancellation);
        await using var command = new NpgsqlCommand("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'web%'", connection);
        return (long)(await command.ExecuteScalarAsync(Cancellation))!;
    }
}
