using System.Text;
using System.Text.RegularExpressions;
using System.Transactions;
using Dapper;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Hosting;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using SafePool.Options;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Hosting.Tests;

/// <summary>docs/adopting.md: its code is the code of this file, and the service gives the same answers before and after.</summary>
public sealed class AdoptingPageTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static readonly DocumentedPage _page = new("adopting.md");

    [Fact]
    public void Snippets_OfThePage_AreTheCodeBelow() => _page.AssertIsCompiled();

    [Theory]
    [InlineData("/dapper")]
    [InlineData("/command")]
    [InlineData("/ef")]
    public async Task Service_BeforeAndAfter_AnswersTheSame(string path)
    {
        var log = new LogCollector();
        await using var before = Before(await BuilderAsync());
        await using var after = After(await BuilderAsync(log));
        await before.StartAsync(Cancellation);
        await after.StartAsync(Cancellation);

        using var client = Web.Client(before);
        using var newClient = Web.Client(after);
        var expected = await client.GetStringAsync(path, Cancellation);

        Assert.NotEmpty(expected);
        Assert.Equal(expected, await newClient.GetStringAsync(path, Cancellation));
        Assert.Equal(1, after.Services.GetRequiredService<ConnectionPool>().GetSnapshot().TotalRents);
        await Eventually.True(async () => await newClient.GetStringAsync("/health/ready", Cancellation) == "Healthy", "it is ready");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Deposit_BeforeAndAfter_IsPartOfItsScope(bool moved)
    {
        var builder = await BuilderAsync();
        await using var server = NpgsqlDataSource.Create(builder.Configuration.GetConnectionString("Orders")!);
        await using var create = server.CreateCommand("DROP TABLE IF EXISTS accounts; CREATE TABLE accounts AS SELECT 10 AS balance");
        await create.ExecuteNonQueryAsync(Cancellation);
        await using var app = moved ? After(builder) : Before(builder);
        await app.StartAsync(Cancellation);
        using var client = Web.Client(app);

        Assert.Equal("1", await DepositAsync(client, complete: true));
        Assert.Equal("1", await DepositAsync(client, complete: false));

        await using var balance = server.CreateCommand("SELECT balance FROM accounts");
        Assert.Equal(11, await balance.ExecuteScalarAsync(Cancellation));
    }

    [Fact]
    public async Task DataSourceBesideThePool_Works_AndIsNotCounted()
    {
        var builder = await BuilderAsync();
        builder.Services.AddNpgsqlDataSource(builder.Configuration.GetConnectionString("Orders")!);
        builder.Services.AddSafePool(builder.Configuration.GetConnectionString("Orders")!);
        await using var app = builder.Build();
        var pool = app.Services.GetRequiredService<ConnectionPool>();

        await using var unmoved = await app.Services.GetRequiredService<NpgsqlDataSource>().OpenConnectionAsync(Cancellation);
        Assert.Equal(0, pool.GetSnapshot().Leased);

        await using var lease = await pool.RentAsync(Cancellation);
        Assert.NotEqual(unmoved.ProcessID, lease.Connection.ProcessID);
        Assert.Equal(1, pool.GetSnapshot().Leased);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task HalfAWay_DoesNotResolve_AsThePageSays(bool back)
    {
        var builder = await BuilderAsync();
        if (back)
        {
            builder.Services.AddNpgsqlDataSource(builder.Configuration.GetConnectionString("Orders")!);
        }
        else
        {
            builder.Services.AddSafePool(builder.Configuration.GetConnectionString("Orders")!);
        }

        await using var app = builder.Build();

        Assert.Equal(back, app.Services.GetService<NpgsqlDataSource>() is not null);
        Assert.Equal(!back, app.Services.GetService<ConnectionPool>() is not null);
    }

    [Fact]
    public async Task Leak_OfThePage_ServesEveryCallAndIsNamed()
    {
        var log = new LogCollector();
        await using var after = After(await BuilderAsync(log));
        await after.StartAsync(Cancellation);
        using var client = Web.Client(after);

        for (var call = 0; call < 15; call++)
        {
            Assert.Equal("true", await client.GetStringAsync("/leak", Cancellation));
        }

        var report = (await log.WaitForAsync(entry => entry.EventId.Id == 100)).Message;
        Assert.Matches(@"rented at AdoptingPageTests\.cs:\d+ .* was lost without being returned, and taken back", report);
    }

    [Fact]
    public async Task Keywords_OfThePage_AreTheOptionsThatItSays()
    {
        var keywords = Regex.Matches(_page.Text, @"^\| `(?<keyword>[A-Z][A-Za-z ]+=[^`]+)` \|", RegexOptions.Multiline).Select(match => match.Groups["keyword"].Value).ToArray();
        Assert.Equal(7, keywords.Length);

        await using var pool = ConnectionPool.Create($"Host=localhost;{string.Join(';', keywords)}");

        var settings = pool.Parts.Settings;
        Assert.Equal(
            (7, 2, TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(600), SessionReset.Rollback, TimeSpan.FromSeconds(5)),
            (settings.MaxSize, settings.MinSize, settings.ConnectTimeout, settings.IdleTimeout, settings.MaxLifetime, settings.Reset, settings.SessionTimeout("statement_timeout")));
        await using var bare = ConnectionPool.Create("Host=localhost");
        Assert.Equal((20, TimeSpan.FromSeconds(5)), (bare.Parts.Settings.MaxSize, bare.Parts.Settings.AcquireTimeout));
    }

    [Fact]
    public async Task OtherKeywords_OfThePage_DoWhatItSays()
    {
        Assert.Contains("`Command Timeout=11` stays", _page.Text, StringComparison.Ordinal);

        await using var pool = ConnectionPool.Create("Host=a,b,c;Timeout=6;Command Timeout=11;Connection Pruning Interval=3;Enlist=false;Include Error Detail=true");
        await using var bare = ConnectionPool.Create("Host=localhost");
        var driver = new NpgsqlConnectionStringBuilder(pool.Parts.Settings.DataSourceString);

        Assert.Equal((2, 11, 10, true), (driver.Timeout, driver.CommandTimeout, driver.ConnectionPruningInterval, driver.IncludeErrorDetail));
        Assert.Equal(TimeSpan.FromSeconds(10), pool.Parts.Settings.HostRecheck);
        Assert.Equal(("a", 3), (driver.Host, pool.Parts.Settings.Hosts.Count));
        Assert.Equal((false, true), (pool.Parts.Settings.Enlists, bare.Parts.Settings.Enlists));
    }

    [Fact]
    public async Task Configuration_OfThePage_Binds()
    {
        var json = _page.Json;
        var builder = Web.CreateBuilder();
        builder.Configuration.AddJsonStream(new MemoryStream(Encoding.UTF8.GetBytes(json)));
        builder.Services.AddSafePool(builder.Configuration.GetSection("SafePool"));
        await using var app = builder.Build();

        var settings = app.Services.GetRequiredService<ConnectionPool>().Parts.Settings;

        Assert.Equal((20, TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(20)), (settings.MaxSize, settings.AcquireTimeout, settings.Leaks.Threshold));
        Assert.Equal(
            (TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(30)),
            (settings.SessionTimeout("statement_timeout"), settings.SessionTimeout("idle_in_transaction_session_timeout")));
    }

    private static async Task<string> DepositAsync(HttpClient client, bool complete)
    {
        using var answer = await client.PostAsync($"/deposit?complete={complete}", content: null, Cancellation);
        return await answer.EnsureSuccessStatusCode().Content.ReadAsStringAsync(Cancellation);
    }

    private static async Task<WebApplicationBuilder> BuilderAsync(LogCollector? log = null)
    {
        var builder = Web.CreateBuilder(log);
        builder.Configuration["ConnectionStrings:Orders"] = $"{await Web.ServerAsync()};Maximum Pool Size=5";
        return builder;
    }

    private static WebApplication Before(WebApplicationBuilder builder)
    {
        builder.Services.AddNpgsqlDataSource(builder.Configuration.GetConnectionString("Orders")!);
        builder.Services.AddDbContextPool<CatalogContext>(options => options.UseNpgsql(builder.Configuration.GetConnectionString("Orders")));
        var app = builder.Build();
        app.MapGet("/dapper", async (NpgsqlDataSource source, CancellationToken cancellationToken) =>
        {
            await using var connection = await source.OpenConnectionAsync(cancellationToken);
            return await connection.QuerySingleAsync<string>("SELECT current_database()");
        });
        app.MapGet("/command", async (NpgsqlDataSource source, CancellationToken cancellationToken) =>
        {
            await using var command = source.CreateCommand("SELECT count(*) FROM pg_class WHERE relname = 'pg_class'");
            return await command.ExecuteScalarAsync(cancellationToken);
        });
        app.MapPost("/deposit", async (bool complete, IConfiguration configuration, CancellationToken cancellationToken) =>
        {
            using var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);
            await using var connection = new NpgsqlConnection(configuration.GetConnectionString("Orders"));
            await connection.OpenAsync(cancellationToken);
            var accounts = await connection.ExecuteAsync("UPDATE accounts SET balance = balance + 1");
            if (complete)
            {
                scope.Complete();
            }

            return accounts;
        });
        MapContext(app);
        return app;
    }

    private static WebApplication After(WebApplicationBuilder builder)
    {
        builder.Services.AddSafePool(builder.Configuration.GetConnectionString("Orders")!);
        builder.Services.AddDbContextPool<CatalogContext>(options => options.UseSafePool());
        builder.Services.AddHealthChecks().AddSafePoolReadiness().AddSafePoolLiveness();
        var app = builder.Build();
        app.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = check => check.Tags.Contains("ready") });
        app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = check => check.Tags.Contains("live") });
        app.MapGet("/dapper", async (ConnectionPool pool, CancellationToken cancellationToken) =>
        {
            await using var connection = await pool.OpenConnectionAsync(cancellationToken);
            return await connection.QuerySingleAsync<string>("SELECT current_database()");
        });
        app.MapGet("/command", async (ConnectionPool pool, CancellationToken cancellationToken) =>
        {
            await using var lease = await pool.RentAsync(cancellationToken);
            await using var command = lease.CreateCommand("SELECT count(*) FROM pg_class WHERE relname = 'pg_class'");
            return await command.ExecuteScalarAsync(cancellationToken);
        });
        app.MapPost("/deposit", async (bool complete, ConnectionPool pool, CancellationToken cancellationToken) =>
        {
            using var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);
            await using var lease = await pool.RentAsync(cancellationToken);
            var accounts = await lease.Connection.ExecuteAsync("UPDATE accounts SET balance = balance + 1");
            if (complete)
            {
                scope.Complete();
            }

            return accounts;
        });
#pragma warning disable SFP0001 // forgotten on purpose, to see what the pool says
        app.MapGet("/leak", async (ConnectionPool pool, CancellationToken cancellationToken) =>
        {
            var lease = await pool.RentAsync(cancellationToken); // no using
            return lease.Id > 0;
        });
#pragma warning restore SFP0001
        MapContext(app);
        return app;
    }

    private static void MapContext(WebApplication app)
    {
        app.MapGet("/ef", async (CatalogContext context, CancellationToken cancellationToken)
            => await context.Relations.Where(relation => relation.Name == "pg_class").Select(relation => relation.Name).SingleAsync(cancellationToken));
    }

    /// <summary>Something that every server has.</summary>
    internal sealed class CatalogContext(DbContextOptions<CatalogContext> options) : DbContext(options)
    {
        public DbSet<Relation> Relations => Set<Relation>();

        protected override void OnModelCreating(ModelBuilder modelBuilder)
        {
            var relation = modelBuilder.Entity<Relation>().HasNoKey().ToView("pg_class", "pg_catalog");
            relation.Property(row => row.Name).HasColumnName("relname");
        }
    }

    internal sealed class Relation
    {
        public required string Name { get; set; }
    }
}
