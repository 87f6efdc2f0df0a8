using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;
using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>Code with <c>[|marks|]</c> where one analyzer has to say something, and nowhere else.</summary>
internal static class Verify
{
    public static async Task<IReadOnlyList<Diagnostic>> CodeAsync(DiagnosticAnalyzer analyzer, string marked, OutputKind kind = OutputKind.DynamicallyLinkedLibrary)
    {
        var (code, expected) = Unmark(marked);
        var said = await Snippets.AnalyzeAsync(Snippets.Compile(code, kind), analyzer);
        Assert.Equal(
            expected.Select(span => code[span.Start..span.End]),
            said.Select(diagnostic => diagnostic.Location.SourceSpan).Select(span => code[span.Start..span.End]));
        Assert.Equal(expected, said.Select(diagnostic => diagnostic.Location.SourceSpan));
        return said;
    }

    /// <summary>Statements in an asynchronous method that has a pool.</summary>
    public static string InMethod(string statements) => $$"""
        public class Store(IConnectionPool pool)
        {
            private Lease _field;
            public Lease Field => _field;
            public static Task UseAsync(NpgsqlConnection connection) => Task.CompletedTask;
            public static void Own(IDisposable what) => what.Dispose();
            public void Keep(Lease lease) => _field = lease;

            public async Task RunAsync(bool choice, List<IDisposable> list)
            {
                {{statements}}
                await Task.Yield();
            }
        }
        """;

    private static (string Code, IReadOnlyList<TextSpan> Spans) Unmark(string marked)
    {
        var spans = new List<TextSpan>();
        var starts = new Stack<int>();
        var code = new System.Text.StringBuilder();
        for (var i = 0; i < marked.Length; i++)
        {
            if (string.CompareOrdinal(marked, i, "[|", 0, 2) == 0)
            {
                starts.Push(code.Length);
                i++;
            }
            else if (string.CompareOrdinal(marked, i, "|]", 0, 2) == 0)
            {
                var start = starts.Pop();
                spans.Add(TextSpan.FromBounds(start, code.Length));
                i++;
            }
            else
            {
                code.Append(marked[i]);
            }
        }

        spans.Sort();
        return (code.ToString(), spans);
    }
}
