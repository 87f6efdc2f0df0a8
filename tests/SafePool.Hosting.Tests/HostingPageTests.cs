using System.Text;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using SafePool.Options;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Hosting.Tests;

/// <summary>docs/hosting.md: its code is the code of this file, its configuration binds, its table is that of the library.</summary>
public sealed class HostingPageTests
{
    private static readonly DocumentedPage _page = new("hosting.md");

    [Fact]
    public void Snippets_OfThePage_AreTheCodeBelow() => _page.AssertIsCompiled();

    [Fact]
    public async Task Service_OfThePage_WorksWithItsConfiguration()
    {
        var server = await Web.ServerAsync();
        var json = _page.Json;
        await using var app = Service(["--urls", "http://127.0.0.1:0"], json, server);
        await app.StartAsync(TestContext.Current.CancellationToken);
        using var client = Web.Client(app);

        Assert.True(long.Parse(await client.GetStringAsync("/orders/count", TestContext.Current.CancellationToken), null) > 100);
        Assert.Equal("7", await client.GetStringAsync("/reports/size", TestContext.Current.CancellationToken));
        var settings = app.Services.GetRequiredService<ConnectionPool>().Parts.Settings;
        Assert.Equal((2, TimeSpan.FromMinutes(5)), (settings.MinSize, settings.Leaks.AbandonAfter));
        await Eventually.True(async () => await client.GetStringAsync("/health/ready", TestContext.Current.CancellationToken) == "Healthy", "it is ready");
        await MaintainAsync(app.Services.GetRequiredService<ConnectionPool>(), TestContext.Current.CancellationToken);
    }

    [Theory]
    [InlineData("changes", true)]
    [InlineData("is refused", false)]
    public void Table_OfWhatCanChange_IsThatOfTheLibrary(string row, bool live)
    {
        var options = Regex.Match(_page.Text, @$"^\| {row} \| (?<names>.*) \|$", RegexOptions.Multiline).Groups["names"].Value;

        Assert.Equal(
            Reconfiguration.Names.Where(name => Reconfiguration.IsLive(name) == live),
            Regex.Matches(options, "`(?<name>[A-Za-z.]+)`").Select(match => match.Groups["name"].Value));
    }

    private static WebApplication Service(string[] args, string json, string server)
    {
        var builder = WebApplication.CreateBuilder(args);
        builder.Configuration.AddJsonStream(new MemoryStream(Encoding.UTF8.GetBytes(json)));
        builder.Configuration["SafePool:ConnectionString"] = server;
        builder.Configuration["Reports:ConnectionString"] = server;
        builder.Configuration["Reports:MaxSize"] = "7";
        builder.Services.AddSafePool(builder.Configuration.GetSection("SafePool"));
        builder.Services.AddHealthChecks().AddSafePoolReadiness().AddSafePoolLiveness();
        builder.Services.AddKeyedSafePool("reports", builder.Configuration.GetSection("Reports"));

        var app = builder.Build();
        app.MapGet("/orders/count", async (ConnectionPool pool, CancellationToken cancellationToken) =>
        {
            await using var lease = await pool.RentAsync(cancellationToken);
            await using var command = lease.CreateCommand("SELECT count(*) FROM pg_class");
            return await command.ExecuteScalarAsync(cancellationToken);
        });
        app.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = check => check.Tags.Contains("ready") });
        app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = check => check.Tags.Contains("live") });
        app.MapGet("/reports/size", ([FromKeyedServices("reports")] ConnectionPool pool) => pool.GetSnapshot().MaxSize);
        return app;
    }

    private static async Task MaintainAsync(ConnectionPool pool, CancellationToken cancellationToken)
    {
        await pool.PauseAsync(cancellationToken);   // ends when the last lease is back: not one session of the pool is left on the server
        // … restart the server, move it, rename the database …
        pool.Resume();
    }
}
