using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Operations;

/// <summary>What docs/runbook.md tells people to run runs.</summary>
public sealed partial class RunbookTests : IAsyncLifetime
{
    private PostgresServer _server = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _server = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        var outside = new Outside(_server.ConnectionString);
        await outside.DoAsync("CREATE DATABASE shop");
        await outside.DoAsync("CREATE ROLE shop_app LOGIN");
        await outside.DoAsync("CREATE TABLE orders AS SELECT 1 AS id");
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task EverySqlOfTheRunbook_OnARealServer_Runs()
    {
        var blocks = Blocks("sql");
        await using var connection = new NpgsqlConnection(_server.ConnectionString);
        await connection.OpenAsync(Cancellation);

        foreach (var block in blocks)
        {
            await connection.DoAsync(block.StartsWith("ALTER SYSTEM", StringComparison.Ordinal) ? block : $"BEGIN; {block} ROLLBACK");
        }

        Assert.Equal(6, blocks.Length);
    }

    [Fact]
    public void EveryCSharpOfTheRunbook_ComparedWithCompiledCode_IsTheSame()
    {
        var compiled = Snippet().Matches(File.ReadAllText(Beside("RunbookSnippets.cs"))).Select(match => Undent(match.Groups["text"].Value));

        Assert.Equal(compiled, Blocks("csharp"));
    }

    [Fact]
    public async Task EveryCSharpOfTheRunbook_OnARealServer_Runs()
    {
        await using var strangers = new Strangers(_server.ConnectionString);
        var idle = await strangers.IdleAsync("billing");
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromMilliseconds(200)), server: _server.ConnectionString);
        var log = new StringWriter();

        var report = await RunbookSnippets.CountAsync(pool.Pool, log, Cancellation);
        RunbookSnippets.Alert(report with { MaxConnections = report.Connections }, log);
        await RunbookSnippets.TerminateAsync(pool.Pool, log, Cancellation);
        RunbookSnippets.Monitor(pool.Pool, log);
        Assert.Equal(1L, await RunbookSnippets.RentAsync(pool.Pool, Cancellation));
        Assert.Null(await RunbookSnippets.BreakAsync(pool.Pool, log, Cancellation));
        var lease = await pool.Pool.RentAsync(Cancellation);
        Assert.NotNull(await RunbookSnippets.BreakAsync(pool.Pool, log, Cancellation));
        await lease.DisposeAsync();
        await RunbookSnippets.SizeAsync(_server.ConnectionString, async sized => await (await sized.RentAsync(Cancellation)).DisposeAsync());

        var said = log.ToString();
        Assert.Contains("billing, idle: 1", said, StringComparison.Ordinal);
        Assert.Contains($"{report.Connections} of {report.Connections}: ", said, StringComparison.Ordinal);
        Assert.Contains("Dry run: 0 of 0 sessions of 'billing'", said, StringComparison.Ordinal);
        Assert.Contains("0 terminated", said, StringComparison.Ordinal);
        Assert.Contains("0 of 1 leased, 0 waiting", said, StringComparison.Ordinal);
        Assert.Contains(" exhausted: waited ", said, StringComparison.Ordinal);
        Assert.Equal("idle", await strangers.StateAsync(idle.ProcessID));
    }

    [Fact]
    public void Runbook_IsShort()
        => Assert.InRange(File.ReadAllLines(Page()).Length, 1, 200);

    private static string[] Blocks(string language)
        => [.. Block().Matches(File.ReadAllText(Page())).Where(match => match.Groups["language"].Value == language).Select(match => match.Groups["text"].Value)];

    private static string Undent(string code)
    {
        var lines = code.TrimEnd().Split('\n');
        var depth = lines.Where(line => line.Length > 0).Min(line => line.Length - line.TrimStart().Length);
        return string.Concat(lines.Select(line => $"{line[Math.Min(depth, line.Length)..]}\n"));
    }

    private static string Page() => Beside("../../../docs/runbook.md");

    private static string Beside(string file, [CallerFilePath] string thisFile = "") => Path.Combine(Path.GetDirectoryName(thisFile)!, file);

    [GeneratedRegex(@"^```(?<language>\w+)\n(?<text>.*?)^```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex(@"^ *// runbook\n(?<text>.*?)^ *// end$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Snippet();
}
