using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;

namespace SafePool.Analyzers.Tests;

/// <summary>Applies fixes as an editor would: one after the other, or all at once.</summary>
internal static class Fixing
{
    /// <summary>The code after a fix of everything that is found, one place at a time.</summary>
    public static async Task<string> EachAsync(string code, DiagnosticAnalyzer analyzer, CodeFixProvider fix)
    {
        var document = Document(code);
        for (var rounds = 0; rounds < 20; rounds++)
        {
            var found = await FindAsync(document, analyzer);
            var action = (await Task.WhenAll(found.Select(diagnostic => ActionAsync(document, diagnostic, fix)))).FirstOrDefault(action => action is not null);
            if (action is null)
            {
                break;
            }

            document = await ApplyAsync(document, action);
        }

        return await TextAsync(document);
    }

    /// <summary>The code after "fix all in document".</summary>
    public static async Task<string> AllAsync(string code, DiagnosticAnalyzer analyzer, CodeFixProvider fix)
    {
        var document = Document(code);
        var first = await ActionAsync(document, (await FindAsync(document, analyzer))[0], fix);
        var context = new FixAllContext(
            document, fix, FixAllScope.Document, first!.EquivalenceKey, fix.FixableDiagnosticIds, new Provider(analyzer), TestContextToken());
        return await TextAsync(await ApplyAsync(document, (await fix.GetFixAllProvider()!.GetFixAsync(context))!));
    }

    private static CancellationToken TestContextToken() => Xunit.TestContext.Current.CancellationToken;

    private static Document Document(string code)
    {
        var compilation = Snippets.Compile(code);
        var workspace = new AdhocWorkspace();
        var project = workspace.AddProject(ProjectInfo.Create(
            ProjectId.CreateNewId(), VersionStamp.Default, "Snippet", "Snippet", LanguageNames.CSharp,
            compilationOptions: compilation.Options, metadataReferences: compilation.References));
        project = project.AddDocument("Usings.cs", compilation.SyntaxTrees.First().ToString()).Project;
        return project.AddDocument("Snippet.cs", SourceText.From(code));
    }

    private static async Task<ImmutableArray<Diagnostic>> FindAsync(Document document, DiagnosticAnalyzer analyzer)
        => await Snippets.AnalyzeAsync((await document.Project.GetCompilationAsync(TestContextToken()))!, analyzer);

    private static async Task<CodeAction?> ActionAsync(Document document, Diagnostic diagnostic, CodeFixProvider fix)
    {
        CodeAction? action = null;
        await fix.RegisterCodeFixesAsync(new CodeFixContext(document, diagnostic, (registered, _) => action ??= registered, TestContextToken()));
        return action;
    }

    private static async Task<Document> ApplyAsync(Document document, CodeAction action)
    {
        var operations = await action.GetOperationsAsync(TestContextToken());
        return operations.OfType<ApplyChangesOperation>().Single().ChangedSolution.GetDocument(document.Id)!;
    }

    private static async Task<string> TextAsync(Document document)
    {
        var code = (await document.GetTextAsync(TestContextToken())).ToString();
        Snippets.Compile(code);
        return code;
    }

    private sealed class Provider(DiagnosticAnalyzer analyzer) : FixAllContext.DiagnosticProvider
    {
        public override async Task<IEnumerable<Diagnostic>> GetAllDiagnosticsAsync(Project project, CancellationToken cancellationToken)
            => await Snippets.AnalyzeAsync((await project.GetCompilationAsync(cancellationToken))!, analyzer);

        public override Task<IEnumerable<Diagnostic>> GetDocumentDiagnosticsAsync(Document document, CancellationToken cancellationToken)
            => GetAllDiagnosticsAsync(document.Project, cancellationToken);

        public override Task<IEnumerable<Diagnostic>> GetProjectDiagnosticsAsync(Project project, CancellationToken cancellationToken)
            => Task.FromResult(Enumerable.Empty<Diagnostic>());
    }
}
