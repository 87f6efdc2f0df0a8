using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>The list of slow calls of SFP0005, in .editorconfig.</summary>
public sealed class SlowCallsTests
{
    private const string Code = """
        namespace Contoso
        {
            public sealed class Billing { public Task ChargeAsync() => Task.CompletedTask; public Task LookAsync() => Task.CompletedTask; }
            public sealed class Mail { public Task SendAsync() => Task.CompletedTask; }
        }

        public sealed class Store(IConnectionPool pool, Contoso.Billing billing, Contoso.Mail mail)
        {
            public async Task RunAsync()
            {
                await using var lease = await pool.RentAsync();
                await billing.ChargeAsync();
                await billing.LookAsync();
                await mail.SendAsync();
                await Task.Delay(1);
            }
        }
        """;

    [Theory]
    [InlineData("", "Task.Delay(1)")]
    [InlineData("Contoso.Mail", "mail.SendAsync() Task.Delay(1)")]
    [InlineData("Contoso.Billing.ChargeAsync, Contoso.Mail", "billing.ChargeAsync() mail.SendAsync() Task.Delay(1)")]
    [InlineData(" Contoso.Billing , ,", "billing.ChargeAsync() billing.LookAsync() Task.Delay(1)")]
    public async Task SlowCalls_OfTheEditorConfig_AreAddedToThoseThatAreKnown(string list, string reported)
    {
        var said = await Snippets.AnalyzeAsync(Snippets.Compile(Code), new AnalyzerOptions([], new Provider(list)), new HeldAcrossAnalyzer());

        Assert.Equal(reported, string.Join(' ', said.Select(diagnostic => diagnostic.Location.SourceTree!.ToString()[diagnostic.Location.SourceSpan.Start..diagnostic.Location.SourceSpan.End])));
    }

    private sealed class Provider(string list) : AnalyzerConfigOptionsProvider
    {
        public override AnalyzerConfigOptions GlobalOptions { get; } = new Options(ImmutableDictionary<string, string>.Empty);

        public override AnalyzerConfigOptions GetOptions(SyntaxTree tree) => new Options(ImmutableDictionary<string, string>.Empty.Add("safepool.slow_calls", list));

        public override AnalyzerConfigOptions GetOptions(AdditionalText textFile) => GlobalOptions;
    }

    private sealed class Options(ImmutableDictionary<string, string> values) : AnalyzerConfigOptions
    {
        public override bool TryGetValue(string key, [NotNullWhen(true)] out string? value) => values.TryGetValue(key, out value);
    }
}
