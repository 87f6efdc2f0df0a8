using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0010: a loop over a reader that ends before the reader does, with nothing that cancels its command.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class ReaderLeftEarlyAnalyzer() : PoolAnalyzer(Rules.ReaderLeftEarly)
{
    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
        => context.RegisterSyntaxNodeAction(
            operation =>
            {
                if (!((WhileStatementSyntax)operation.Node).Condition.ToString().Contains(".Read")
                    || operation.SemanticModel.GetOperation(operation.Node, operation.CancellationToken) is not IWhileLoopOperation loop
                    || Reader(loop) is not { } reader || IsShort(reader, loop) || Cancels(loop))
                {
                    return;
                }

                foreach (var leaving in loop.Body.Descendants().Where(inner => Leaves(inner, loop)))
                {
                    operation.ReportDiagnostic(Diagnostic.Create(Rules.ReaderLeftEarly, leaving.Syntax.GetLocation(), reader.Name));
                }
            },
            SyntaxKind.WhileStatement);

    /// <summary>The variable in <c>while (await reader.ReadAsync())</c>.</summary>
    private static ILocalSymbol? Reader(IWhileLoopOperation loop)
    {
        var condition = loop.Condition;
        while (condition is IAwaitOperation or IConversionOperation or IInvocationOperation { TargetMethod.Name: "ConfigureAwait" })
        {
            condition = condition.ChildOperations.First();
        }

        return condition is IInvocationOperation { TargetMethod.Name: "Read" or "ReadAsync", Instance: ILocalReferenceOperation { Type.Name: "NpgsqlDataReader" } reader }
            ? reader.Local
            : null;
    }

    private static bool Leaves(IOperation operation, ILoopOperation loop)
    {
        if (operation is not (IReturnOperation { Kind: OperationKind.Return } or IBranchOperation { BranchKind: BranchKind.Break }))
        {
            return false;
        }

        for (var parent = operation.Parent; parent != loop; parent = parent.Parent)
        {
            if (parent is null or IAnonymousFunctionOperation or ILocalFunctionOperation
                || (operation is IBranchOperation && parent is ILoopOperation or ISwitchOperation))
            {
                return false;
            }
        }

        return true;
    }

    private static bool Cancels(ILoopOperation loop)
        => loop.Body.Descendants().OfType<IInvocationOperation>().Any(call => call.TargetMethod.Name is "Cancel" or "CancelAsync");

    /// <summary>Whether it was asked for one row.</summary>
    private static bool IsShort(ILocalSymbol reader, IOperation loop)
        => loop.Root().Descendants().OfType<IVariableDeclaratorOperation>()
            .Where(declarator => SymbolEqualityComparer.Default.Equals(declarator.Symbol, reader))
            .SelectMany(declarator => declarator.Descendants())
            .Any(part => part is IFieldReferenceOperation { Field.Name: "SingleRow" });
}
